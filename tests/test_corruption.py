"""Files that are truncated, altered, forged or of another kind are refused by one sentence each.

No large memory is allocated for them.
"""

import json
import resource
import shutil
import struct

import pytest
import torch
from safetensors.torch import load_file, save_file

from embpress import compress_model, load
from embpress.cli import main
from embpress.errors import UserError
from embpress.export.manifest import MANIFEST, MANIFEST_VERSION
from embpress.files import sha256_of
from embpress.models.embedding import OTHER_WEIGHTS
from embpress.storage import HEADER, TENSORS
from tests.zoo import tiny

CONFIG = "config.json"
VAST = 2**40


@pytest.fixture(scope="module")
def sound(tmp_path_factory):
    """A valid exported model."""
    folder = tmp_path_factory.mktemp("sound")
    tiny("bert_mlm").save_pretrained(folder / "dense")
    compress_model(folder / "dense", folder / "out", "svd", 1.5)
    return folder / "out"


def change(name, **values):
    """Replace keys of a JSON file."""

    def apply(folder):
        file = folder / name
        file.write_text(json.dumps(json.loads(file.read_text()) | values))

    return apply


def drop(name, key):
    """Remove a key of a JSON file."""

    def apply(folder):
        file = folder / name
        file.write_text(
            json.dumps({k: v for k, v in json.loads(file.read_text()).items() if k != key})
        )

    return apply


def content(name, data):
    """Replace a file."""
    return lambda folder: (folder / name).write_bytes(data)


def cut(name, keep):
    """Keep only the first bytes of a file."""
    return lambda folder: (folder / name).write_bytes((folder / name).read_bytes()[:keep])


def flip(name):
    """Change the last byte of a file."""

    def apply(folder):
        data = bytearray((folder / name).read_bytes())
        data[-1] ^= 1
        (folder / name).write_bytes(data)

    return apply


def tensors(name, edit):
    """Change the tensors of a safetensors file."""

    def apply(folder):
        stored = dict(load_file(folder / name))
        edit(stored)
        save_file({k: t.clone() for k, t in stored.items()}, folder / name)

    return apply


def forged(header, data=b"\0" * 16):
    """Bytes of a safetensors file with this header."""
    text = json.dumps(header).encode()
    return struct.pack("<Q", len(text)) + text + data


def entry(shape, begin, end, dtype="F32"):
    """A tensor of a safetensors header."""
    return {"dtype": dtype, "shape": shape, "data_offsets": [begin, end]}


def listed(**names):
    """Replace entries in the manifest's list of files."""

    def apply(folder):
        manifest = json.loads((folder / MANIFEST).read_text())
        (folder / MANIFEST).write_text(
            json.dumps(manifest | {"sha256": manifest["sha256"] | names})
        )

    return apply


VAST_LEFT = forged({"left": entry([VAST, 1], 0, 4 * VAST), "right": entry([1, 16], 0, 64)})

# The change to the exported model; whether the manifest's SHA-256 are updated, as a forger would;
# words of the message.
CASES = {
    "no manifest": (lambda f: (f / MANIFEST).unlink(), False, "embpress.json is missing"),
    "manifest is no JSON": (content(MANIFEST, b"{"), False, "not a valid compressed model"),
    "manifest is a list": (content(MANIFEST, b"[]"), False, "no JSON object"),
    "manifest is binary": (content(MANIFEST, b"\xff\xfe\0"), False, "not a valid compressed model"),
    "manifest nested deep": (
        content(MANIFEST, b'{"a":' * 100_000),
        False,
        "not a valid compressed model",
    ),
    "manifest is huge": (content(MANIFEST, b" " * (2 << 20)), False, "larger than"),
    "newer version": (
        change(MANIFEST, embpress=MANIFEST_VERSION + 1),
        False,
        f"version {MANIFEST_VERSION + 1}",
    ),
    "version is text": (change(MANIFEST, embpress="1"), False, "'1' is not a format version"),
    "no sha256": (drop(MANIFEST, "sha256"), False, "'sha256' is missing"),
    "sha256 is a list": (change(MANIFEST, sha256=[]), False, "must be JSON objects"),
    "weights not listed": (change(MANIFEST, sha256={}), False, "does not list"),
    "path upwards": (listed(**{"../dense/config.json": "0"}), False, "leads out of the folder"),
    "absolute path": (listed(**{"/etc/passwd": "0"}), False, "leads out of the folder"),
    "places elsewhere": (
        change(MANIFEST, replaced={"lookups": ["a"], "heads": []}),
        False,
        "other layers",
    ),
    "places of wrong type": (
        change(MANIFEST, replaced={"lookups": 3}),
        False,
        "not a valid compressed model",
    ),
    "a weight's bit flipped": (flip(OTHER_WEIGHTS), False, "rest.safetensors was altered"),
    "a code's bit flipped": (flip(TENSORS), False, "matrix.safetensors was altered"),
    "config altered": (change(CONFIG, vocab_size=24), False, "config.json was altered"),
    "rest missing": (lambda f: (f / OTHER_WEIGHTS).unlink(), False, "rest.safetensors is missing"),
    "matrix missing": (lambda f: (f / TENSORS).unlink(), False, "matrix.safetensors is missing"),
    "matrix header missing": (lambda f: (f / HEADER).unlink(), False, "matrix.json is missing"),
    "rest cut": (cut(OTHER_WEIGHTS, 2000), True, "not a valid compressed model"),
    "rest empty": (content(OTHER_WEIGHTS, b""), True, "not a valid compressed model"),
    "matrix cut": (cut(TENSORS, 200), True, "not a valid compressed matrix"),
    "rest is a pickle": (
        content(OTHER_WEIGHTS, b"\x80\x04cos\nsystem\n."),
        True,
        "not a valid compressed model",
    ),
    "offsets beyond the file": (content(TENSORS, VAST_LEFT), True, "not a valid compressed matrix"),
    "safetensors header beyond the file": (
        content(TENSORS, struct.pack("<Q", 1 << 60) + b"{}"),
        True,
        "not a valid",
    ),
    "rest with offsets beyond": (
        content(OTHER_WEIGHTS, forged({"a": entry([VAST], 0, 4 * VAST)})),
        True,
        "not a valid",
    ),
    "a weight missing": (tensors(OTHER_WEIGHTS, lambda t: t.popitem()), True, "lacks"),
    "a weight too many": (
        tensors(OTHER_WEIGHTS, lambda t: t.update(more=torch.ones(2))),
        True,
        "unexpected weight more",
    ),
    "a weight of other shape": (
        tensors(
            OTHER_WEIGHTS, lambda t: t.update({"bert.embeddings.LayerNorm.bias": torch.ones(3)})
        ),
        True,
        "config.json",
    ),
    "vast matrix": (change(HEADER, shape=[VAST, 16]), True, "gives an embedding"),
    "vast vocabulary": (change(CONFIG, vocab_size=VAST), True, "gives an embedding"),
    "both vast": (
        lambda f: (change(HEADER, shape=[VAST, 16])(f), change(CONFIG, vocab_size=VAST)(f)),
        True,
        "config.json",
    ),
    "other width": (change(CONFIG, hidden_size=32), True, "gives an embedding"),
    "vast position table": (
        change(CONFIG, max_position_embeddings=VAST),
        True,
        "config.json",
    ),
    "unknown architecture": (
        change(CONFIG, architectures=["Nonsense"]),
        True,
        "installed transformers",
    ),
    "an architecture that is no model": (
        change(CONFIG, architectures=["pipeline"]),
        True,
        "installed transformers",
    ),
    "another model's architecture": (
        change(CONFIG, architectures=["GPT2LMHeadModel"]),
        True,
        "installed transformers",
    ),
    "code of its own": (
        change(CONFIG, model_type="mine", auto_map={"AutoConfig": "evil.Config"}),
        True,
        "installed transformers",
    ),
    "config value of wrong type": (change(CONFIG, vocab_size="many"), True, ""),
    "dtype that is true": (change(CONFIG, dtype=True), True, "not a valid compressed model"),
    "dtype that is false": (change(CONFIG, dtype=False), True, "not a valid compressed model"),
    "unknown format": (change(HEADER, format="zip"), True, "unknown format 'zip'"),
    "format of wrong type": (change(HEADER, format=[]), True, "unknown format"),
    "newer matrix": (
        change(HEADER, embpress=9),
        True,
        "version 9",
    ),
    "shape of wrong type": (change(HEADER, shape="23x16"), True, "config.json"),
    "vast rank": (change(HEADER, config={"rank": VAST}), True, "not a valid compressed matrix"),
    "rank of wrong type": (
        change(HEADER, config={"rank": "2"}),
        True,
        "not a valid compressed matrix",
    ),
    "an unknown dtype": (
        change(HEADER, config={"rank": 2, "dtype": "load"}),
        True,
        "not a valid compressed matrix",
    ),
    "unknown config": (
        change(HEADER, config={"code": "import os"}),
        True,
        "not a valid compressed matrix",
    ),
    "lying size": (change(HEADER, stored_bits=8), True, "gives 8 bits"),
    "foreign tensors": (
        tensors(TENSORS, lambda t: t.update(extra=torch.ones(1))),
        True,
        "contains the tensors",
    ),
    "tensors of another type": (
        tensors(TENSORS, lambda t: t.update(left=t["left"].half())),
        True,
        "left is F16",
    ),
}


def broken(sound, tmp_path, case):
    """A copy of the valid model after a change."""
    do, seal, words = CASES[case]
    folder = shutil.copytree(sound, tmp_path / "broken")
    do(folder)
    if seal:
        manifest = json.loads((folder / MANIFEST).read_text())
        manifest["sha256"] = {name: sha256_of(folder / name) for name in manifest["sha256"]}
        (folder / MANIFEST).write_text(json.dumps(manifest))
    return folder, words


@pytest.mark.parametrize("case", CASES)
def test_what_is_broken_is_refused_by_one_sentence(sound, tmp_path, case):
    folder, words = broken(sound, tmp_path, case)
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    with pytest.raises(UserError) as refused:
        load(folder)
    assert words in str(refused.value) and "\n" not in str(refused.value)
    assert str(tmp_path) in str(refused.value) and ": " in str(refused.value)  # culprit and remedy
    assert resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before < 300_000  # kilobytes


@pytest.mark.parametrize(
    "case",
    [
        "no manifest",
        "rest cut",
        "matrix cut",
        "path upwards",
        "newer version",
        "manifest nested deep",
    ],
)
def test_the_command_line_fails_without_a_traceback(sound, tmp_path, case, capsys):
    folder, _ = broken(sound, tmp_path, case)
    assert main(["inspect", str(folder)]) == 1
    printed = capsys.readouterr()
    assert (
        printed.out == "" and printed.err.startswith("embpress: ") and printed.err.count("\n") == 1
    )


def test_the_valid_model_loads(sound):
    assert load(sound).config.vocab_size == 23
