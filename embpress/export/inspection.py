"""What a compressed model's folder holds, byte for byte, and which bytes did not shrink, and why.

Loads no tensor.
"""

import math
from collections import defaultdict
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from .. import storage
from .artefact import ABOUT, REST, broken, read_about

BYTES = {
    "F64": 8,
    "I64": 8,
    "F32": 4,
    "I32": 4,
    "F16": 2,
    "BF16": 2,
    "I16": 2,
    "I8": 1,
    "U8": 1,
    "BOOL": 1,
}
ROWS_ALIKE = 2
"""Dimensions of an embedding or a head."""


@dataclass(frozen=True)
class Stored:
    """One tensor of the compressed matrix."""

    name: str
    dtype: str
    shape: tuple[int, ...]
    bytes: int


@dataclass(frozen=True)
class Group:
    """Weights that were left as they were."""

    name: str
    bytes: int
    why: str


@dataclass(frozen=True)
class Inspection:
    """What is in an artefact. All sizes are bytes; ratios are bits before / bits after."""

    architecture: str
    method: str
    format: str
    shape: tuple[int, int]
    replaced: list[str]
    """Layers that run on the compressed matrix."""
    stored: list[Stored]
    stored_bits: int
    matrix_header: int
    """Bytes of matrix.safetensors that are no tensor, and matrix.json."""
    rest_header: int
    embedding_before: int
    """As the model stored it."""
    embedding_before_dtype: str
    embedding_ratio: float
    """Dense fp32 bits / bits stored."""
    model_before: int
    model_after: int
    """Tensors of the matrix and of the rest, without headers."""
    files: dict[str, int] = field(default_factory=dict)
    """Bytes of each file on disk."""
    kept: list[Group] = field(default_factory=list)
    """What did not shrink, the largest first."""

    @property
    def embedding_after(self) -> int:
        """Bytes of the compressed matrix."""
        return self.stored_bits // 8

    @property
    def model_ratio(self) -> float:
        """Bits of the whole model before / after, both as stored."""
        return self.model_before / self.model_after

    def to_json(self) -> dict[str, Any]:
        """As plain JSON values."""
        return asdict(self) | {
            "embedding_after": self.embedding_after,
            "model_ratio": self.model_ratio,
        }


def inspect(folder: str | Path) -> Inspection:
    """Describe a compressed model from its headers.

    Raises:
        UserError: if the folder is no artefact, or one that is incomplete, altered or of a newer
            version.
    """
    folder = Path(folder)
    about = read_about(folder)
    try:
        header = storage.read_json(folder / storage.HEADER)
        stored = stored_tensors(storage.tensor_table(folder / storage.TENSORS))
        rest = stored_tensors(storage.tensor_table(folder / REST))
        places = about["replaced"]
        before = about["before"]
        n_rows, d = header["shape"]
        bits = 8 * sum(t.bytes for t in stored)
        return Inspection(
            architecture=storage.read_json(folder / "config.json")["architectures"][0],
            method=about["made"]["method"],
            format=header["format"],
            shape=(n_rows, d),
            replaced=[*places["lookups"], *places["heads"]],
            stored=stored,
            stored_bits=bits,
            matrix_header=storage.header_bytes(folder / storage.TENSORS)
            + (folder / storage.HEADER).stat().st_size,
            rest_header=storage.header_bytes(folder / REST),
            embedding_before=before["embedding"],
            embedding_before_dtype=before["dtype"],
            embedding_ratio=32 * n_rows * d / bits,
            model_before=before["model"],
            model_after=bits // 8 + sum(t.bytes for t in rest),
            files={
                name: (folder / name).stat().st_size for name in [*sorted(about["sha256"]), ABOUT]
            },
            kept=groups(rest, n_rows),
        )
    # What is listed was written by `write`; anything else fails here in one of many ways.
    except Exception as error:
        raise broken(folder, storage.first_line(error)) from error


def stored_tensors(table: dict[str, tuple[tuple[int, ...], str]]) -> list[Stored]:
    """Tensors with their bytes, by name."""
    return [
        Stored(name, kind, shape, math.prod(shape) * BYTES[kind])
        for name, (shape, kind) in sorted(table.items())
    ]


def groups(rest: list[Stored], n_rows: int) -> list[Group]:
    """What was left as it was, by the reason for it; the largest first."""
    sizes: dict[tuple[str, str], int] = defaultdict(int)
    for tensor in rest:
        sizes[_group(tensor, n_rows)] += tensor.bytes
    return sorted(
        (Group(name, size, why) for (name, why), size in sizes.items()), key=lambda g: -g.bytes
    )


def _group(tensor: Stored, n_rows: int) -> tuple[str, str]:
    """Name of the group of a tensor, and why it did not shrink."""
    parts = tensor.name.split(".")
    if len(tensor.shape) == ROWS_ALIKE and tensor.shape[0] == n_rows:
        return (
            f"{tensor.name}: one row a token",
            "an output head or table of its own, not tied to the embedding: left dense",
        )
    if tensor.shape == (n_rows,):
        return "bias of the output head", "one number a token"
    if any("position" in part or part == "wpe" for part in parts):
        return "position embeddings", "no token embedding"
    if any("token_type" in part for part in parts):
        return "token type embeddings", "no token embedding"
    numbers = [i for i, part in enumerate(parts) if part.isdecimal()]
    if numbers:
        return f"layers {'.'.join(parts[: numbers[0]])}.*", "not an embedding"
    return ".".join(parts[:-1]) or parts[0], "not an embedding"
