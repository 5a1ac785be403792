"""Readers of files return the content or raise one sentence, whatever the file contains.

Examples are the same in every run.
"""

import copy
import json
import shutil
import tempfile
from pathlib import Path

import pytest
import yaml
from hypothesis import given, settings
from hypothesis import strategies as st

from embpress import compress_model, load
from embpress.data.counts import counts_from_file
from embpress.data.rows import read_table
from embpress.errors import UserError
from embpress.export.manifest import MANIFEST
from embpress.files import sha256_of
from embpress.models.embedding import OTHER_WEIGHTS
from embpress.numerics.matrices import safetensors_matrix
from embpress.storage import HEADER, TENSORS
from embpress.study.checks import check_model_folder
from embpress.study.yaml_files import read_yaml

from .conftest import ROOT
from .studies import load as load_config
from .zoo import tiny

FEW, MANY = (
    settings(derandomize=True, deadline=None, database=None, max_examples=n) for n in (120, 300)
)
SMOKE = yaml.safe_load((ROOT / "studies/smoke.yaml").read_text())
VALUES = st.recursive(
    st.none()
    | st.booleans()
    | st.integers()
    | st.floats()
    | st.text(max_size=8)
    | st.sampled_from(["svd", "minilm", "a/b"]),
    lambda inner: (
        st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=8), inner, max_size=3)
    ),
    max_leaves=6,
)


def one_sentence(do, *arguments):
    """Call `do`; it may raise a UserError of one line, and nothing else."""
    try:
        do(*arguments)
    except UserError as error:
        assert str(error) and "\n" not in str(error)


def places(value, path=()):
    """Paths to all parts of a JSON value."""
    yield path
    for key, part in (
        value.items()
        if isinstance(value, dict)
        else enumerate(value)
        if isinstance(value, list)
        else ()
    ):
        yield from places(part, (*path, key))


def put(value, path, new):
    """A copy with one part replaced."""
    if not path:
        return new
    value = copy.deepcopy(value)
    place = value
    for key in path[:-1]:
        place = place[key]
    place[path[-1]] = new
    return value


@MANY
@given(st.sampled_from(list(places(SMOKE))[1:]), VALUES)
def test_a_config_with_anything_anywhere(path, value):
    one_sentence(load_config, put(SMOKE, path, value))


@MANY
@given(
    st.binary(max_size=60)
    | st.text(alphabet="a: -[]{}&*!#|>'\"\n\t?%@0.~", max_size=60).map(str.encode)
)
def test_a_config_of_any_bytes(content):
    with tempfile.TemporaryDirectory() as folder:
        (Path(folder) / "study.yaml").write_bytes(content)
        one_sentence(lambda: load_config(read_yaml(Path(folder) / "study.yaml")))


@pytest.fixture(scope="module")
def exported(tmp_path_factory):
    """A valid exported model."""
    folder = tmp_path_factory.mktemp("exported")
    tiny("bert").save_pretrained(folder / "dense")
    compress_model(folder / "dense", folder / "out", "svd", 1.5)
    return folder / "out"


def damaged(exported, folder, name, content):
    """A copy of an exported model with other content in a file, and with its SHA-256 updated."""
    shutil.copytree(exported, folder)
    (folder / name).write_bytes(content)
    if name != MANIFEST:
        manifest = json.loads((folder / MANIFEST).read_text())
        (folder / MANIFEST).write_text(
            json.dumps(manifest | {"sha256": manifest["sha256"] | {name: sha256_of(folder / name)}})
        )


@FEW
@given(data=st.data(), name=st.sampled_from([MANIFEST, HEADER, "config.json"]), value=VALUES)
def test_an_exported_model_with_any_json_anywhere(exported, data, name, value):
    sound = json.loads((exported / name).read_text())
    forged = put(sound, data.draw(st.sampled_from(list(places(sound)))), value)
    with tempfile.TemporaryDirectory() as folder:
        damaged(exported, Path(folder, "a"), name, json.dumps(forged).encode())
        one_sentence(load, Path(folder, "a"))


@FEW
@given(
    name=st.sampled_from([MANIFEST, HEADER, "config.json", OTHER_WEIGHTS, TENSORS]),
    where=st.floats(0, 1),
    new=st.binary(min_size=1, max_size=8),
    cut=st.booleans(),
)
def test_an_exported_model_with_any_bytes_anywhere(exported, name, where, new, cut):
    content = (exported / name).read_bytes()
    start = int(where * min(len(content), 2000))  # headers come first
    with tempfile.TemporaryDirectory() as folder:
        damaged(
            exported,
            Path(folder, "a"),
            name,
            content[:start] + new + (b"" if cut else content[start + len(new) :]),
        )
        one_sentence(load, Path(folder, "a"))


HEADERS = st.dictionaries(
    st.sampled_from(["e", "counts", "__metadata__"]),
    st.fixed_dictionaries(
        {"dtype": st.sampled_from(["F32", "I64", "X"]), "shape": VALUES, "data_offsets": VALUES}
    )
    | VALUES,
)


@MANY
@given(HEADERS, st.integers(-2, 2))
def test_safetensors_of_any_header(header, lie):
    text = json.dumps(header).encode()
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder, "e.safetensors")
        path.write_bytes(max(0, len(text) + lie).to_bytes(8, "little") + text + bytes(64))
        Path(folder, "config.json").write_text('{"vocab_size": 2}')
        one_sentence(safetensors_matrix, path, "e")
        one_sentence(counts_from_file, path, 2)
        one_sentence(check_model_folder, Path(folder), "models.x")


@MANY
@given(
    st.binary(max_size=80) | st.text(alphabet='ab,\t\n"{}[]:1\0', max_size=80).map(str.encode),
    st.data(),
)
def test_rows_and_counts_of_any_bytes(content, data):
    layout = {
        "format": data.draw(st.sampled_from(["csv", "tsv", "jsonl"])),
        "quoted": data.draw(st.booleans()),
    }
    one_sentence(read_table, layout, "t", content, ["a"])
    with tempfile.TemporaryDirectory() as folder:
        for name in ("c.tsv", "c.json"):
            Path(folder, name).write_bytes(content)
            one_sentence(counts_from_file, Path(folder, name), 4)
