"""Files that are cut, altered, forged or of another kind are each refused by one sentence.

And nothing big is allocated.
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
from embpress.export.artefact import ABOUT, REST
from embpress.files import sha256_of
from embpress.storage import HEADER, TENSORS
from tests.zoo import tiny

CONFIG = "config.json"
VAST = 2**40


@pytest.fixture(scope="module")
def sound(tmp_path_factory):
    """An artefact in which nothing is wrong."""
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
        found = dict(load_file(folder / name))
        edit(found)
        save_file({k: t.clone() for k, t in found.items()}, folder / name)

    return apply


def forged(header, data=b"\0" * 16):
    """Bytes of a safetensors file with a header of one's own."""
    text = json.dumps(header).encode()
    return struct.pack("<Q", len(text)) + text + data


def entry(shape, begin, end, dtype="F32"):
    """A tensor of a safetensors header."""
    return {"dtype": dtype, "shape": shape, "data_offsets": [begin, end]}


def listed(**names):
    """Replace names in the list of files."""

    def apply(folder):
        about = json.loads((folder / ABOUT).read_text())
        (folder / ABOUT).write_text(json.dumps(about | {"sha256": about["sha256"] | names}))

    return apply


VAST_LEFT = forged({"left": entry([VAST, 1], 0, 4 * VAST), "right": entry([1, 16], 0, 64)})

# What is done to the artefact; the file whose sha256 is made to fit again, as a forger would; words
# of the sentence.
CASES = {
    "no about": (lambda f: (f / ABOUT).unlink(), False, "embpress.json is missing"),
    "about is no JSON": (content(ABOUT, b"{"), False, "not a whole compressed model"),
    "about is a list": (content(ABOUT, b"[]"), False, "holds no JSON object"),
    "about is binary": (content(ABOUT, b"\xff\xfe\0"), False, "not a whole compressed model"),
    "about nested deep": (
        content(ABOUT, b'{"a":' * 100_000),
        False,
        "not a whole compressed model",
    ),
    "about is huge": (content(ABOUT, b" " * (2 << 20)), False, "larger than"),
    "newer version": (
        change(ABOUT, embpress=2),
        False,
        "version 2, but this embpress reads up to 1: update it",
    ),
    "version is text": (change(ABOUT, embpress="1"), False, "version '1' is none"),
    "no sha256": (drop(ABOUT, "sha256"), False, "'sha256' is missing"),
    "sha256 is a list": (change(ABOUT, sha256=[]), False, "must be JSON objects"),
    "weights not listed": (change(ABOUT, sha256={}), False, "is not among its files"),
    "path upwards": (listed(**{"../dense/config.json": "0"}), False, "is no plain file name"),
    "absolute path": (listed(**{"/etc/passwd": "0"}), False, "is no plain file name"),
    "places elsewhere": (
        change(ABOUT, replaced={"lookups": ["a"], "heads": []}),
        False,
        "names other places",
    ),
    "places of wrong type": (
        change(ABOUT, replaced={"lookups": 3}),
        False,
        "not a whole compressed model",
    ),
    "a weight's bit flipped": (flip(REST), False, "rest.safetensors was altered"),
    "a code's bit flipped": (flip(TENSORS), False, "matrix.safetensors was altered"),
    "config altered": (change(CONFIG, vocab_size=24), False, "config.json was altered"),
    "rest missing": (lambda f: (f / REST).unlink(), False, "rest.safetensors is missing"),
    "matrix missing": (lambda f: (f / TENSORS).unlink(), False, "matrix.safetensors is missing"),
    "matrix header missing": (lambda f: (f / HEADER).unlink(), False, "matrix.json is missing"),
    "rest cut": (cut(REST, 2000), True, "not a whole compressed model"),
    "rest empty": (content(REST, b""), True, "not a whole compressed model"),
    "matrix cut": (cut(TENSORS, 200), True, "not a whole compressed matrix"),
    "rest is a pickle": (
        content(REST, b"\x80\x04cos\nsystem\n."),
        True,
        "not a whole compressed model",
    ),
    "offsets beyond the file": (content(TENSORS, VAST_LEFT), True, "not a whole compressed matrix"),
    "safetensors header beyond the file": (
        content(TENSORS, struct.pack("<Q", 1 << 60) + b"{}"),
        True,
        "not a whole",
    ),
    "rest with offsets beyond": (
        content(REST, forged({"a": entry([VAST], 0, 4 * VAST)})),
        True,
        "not a whole",
    ),
    "a weight missing": (tensors(REST, lambda t: t.popitem()), True, "lacks"),
    "a weight too many": (
        tensors(REST, lambda t: t.update(more=torch.ones(2))),
        True,
        "has a foreign more",
    ),
    "a weight of other shape": (
        tensors(REST, lambda t: t.update({"bert.embeddings.LayerNorm.bias": torch.ones(3)})),
        True,
        "config.json wants",
    ),
    "vast matrix": (change(HEADER, shape=[VAST, 16]), True, "config.json wants an embedding of"),
    "vast vocabulary": (change(CONFIG, vocab_size=VAST), True, "config.json wants an embedding of"),
    "both vast": (
        lambda f: (change(HEADER, shape=[VAST, 16])(f), change(CONFIG, vocab_size=VAST)(f)),
        True,
        "config.json wants",
    ),
    "other width": (change(CONFIG, hidden_size=32), True, "config.json wants an embedding of"),
    "vast position table": (
        change(CONFIG, max_position_embeddings=VAST),
        True,
        "config.json wants",
    ),
    "unknown architecture": (
        change(CONFIG, architectures=["Nonsense"]),
        True,
        "none of transformers",
    ),
    "an architecture that is no model": (
        change(CONFIG, architectures=["pipeline"]),
        True,
        "none of transformers",
    ),
    "another model's architecture": (
        change(CONFIG, architectures=["GPT2LMHeadModel"]),
        True,
        "none of transformers",
    ),
    "code of its own": (
        change(CONFIG, model_type="mine", auto_map={"AutoConfig": "evil.Config"}),
        True,
        "no model that transformers has",
    ),
    "config value of wrong type": (change(CONFIG, vocab_size="many"), True, ""),
    "unknown layout": (change(HEADER, format="zip"), True, "unknown format 'zip'"),
    "layout of wrong type": (change(HEADER, format=[]), True, "unknown format"),
    "newer matrix": (
        change(HEADER, embpress=9),
        True,
        "version 9, but this embpress reads up to 1",
    ),
    "shape of wrong type": (change(HEADER, shape="23x16"), True, "config.json wants"),
    "vast rank": (change(HEADER, config={"rank": VAST}), True, "not a whole compressed matrix"),
    "rank of wrong type": (
        change(HEADER, config={"rank": "2"}),
        True,
        "not a whole compressed matrix",
    ),
    "a type that is none": (
        change(HEADER, config={"rank": 2, "dtype": "load"}),
        True,
        "not a whole compressed matrix",
    ),
    "unknown config": (
        change(HEADER, config={"code": "import os"}),
        True,
        "not a whole compressed matrix",
    ),
    "lying size": (change(HEADER, stored_bits=8), True, "it says 8 bits"),
    "foreign tensors": (
        tensors(TENSORS, lambda t: t.update(extra=torch.ones(1))),
        True,
        "it holds the tensors",
    ),
    "tensors of another type": (
        tensors(TENSORS, lambda t: t.update(left=t["left"].half())),
        True,
        "left is F16",
    ),
}


def broken(sound, tmp_path, case):
    """A copy of the sound artefact after a corruption."""
    do, seal, words = CASES[case]
    folder = shutil.copytree(sound, tmp_path / "broken")
    do(folder)
    if seal:
        about = json.loads((folder / ABOUT).read_text())
        about["sha256"] = {name: sha256_of(folder / name) for name in about["sha256"]}
        (folder / ABOUT).write_text(json.dumps(about))
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
    ["no about", "rest cut", "matrix cut", "path upwards", "newer version", "about nested deep"],
)
def test_the_command_line_fails_without_a_traceback(sound, tmp_path, case, capsys):
    folder, _ = broken(sound, tmp_path, case)
    assert main(["inspect", str(folder)]) == 1
    printed = capsys.readouterr()
    assert (
        printed.out == "" and printed.err.startswith("embpress: ") and printed.err.count("\n") == 1
    )


def test_the_sound_artefact_loads(sound):
    assert load(sound).config.vocab_size == 23
