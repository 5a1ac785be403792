"""Report the size of everything in an exported model, from file headers without loading tensors."""

from collections import defaultdict
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import Any

import torch

from .. import storage
from ..files import MAX_MODEL_JSON_BYTES, read_json, summarize_error
from ..models.embedding import OTHER_WEIGHTS
from ..models.pretrained import CONFIG
from ..safetensors_header import SafetensorsHeader, read_header
from .load_memory import measure_load_memory
from .manifest import HEAD, MANIFEST, Manifest, invalid_model_error, read_manifest
from .stored_layers import layers_header_bytes, read_layer_list

MATRIX_AXES = 2
"""Dimensions of the weight of an embedding or an output head."""


@dataclass(frozen=True)
class Stored:
    """One stored tensor."""

    name: str
    dtype: str
    shape: tuple[int, ...]
    bytes: int


@dataclass(frozen=True)
class Group:
    """Weights that were not compressed for the same reason."""

    name: str
    bytes: int
    why: str


@dataclass(frozen=True)
class InspectedLayer:
    """One compressed matrix beside the embedding."""

    name: str
    weights: tuple[str, ...]
    """Weights of the model that it replaces."""
    format: str
    shape: tuple[int, int]
    bytes: int


@dataclass(frozen=True)
class Inspection:
    """Contents of an exported model. Sizes are bytes, ratios are bits before / bits after."""

    architecture: str
    method: str
    format: str
    shape: tuple[int, int]
    """Of the compressed embedding."""
    n_rows_before: int
    """Rows of the dense embedding, more than those of `shape` after vocabulary trimming."""
    replaced: list[str]
    """Layers that run on the compressed matrix, or its own."""
    stored: list[Stored]
    """Tensors of the compressed matrix."""
    stored_bits: int
    """Of the compressed matrix, and the head's own."""
    matrix_header: int
    """Bytes of matrix.safetensors before its first tensor, and of matrix.json, of all matrices."""
    rest_header: int
    """Bytes of rest.safetensors before its first tensor."""
    embedding_before: int
    """In the dtype of the dense model."""
    embedding_before_dtype: str
    embedding_ratio: float
    """Dense fp32 bits / stored bits."""
    model_before: int
    model_after: int
    """Tensors of all matrices and all other weights, without headers."""
    files: dict[str, int] = field(default_factory=dict)
    """Bytes of each file on disk."""
    kept: list[Group] = field(default_factory=list)
    """Weights that were not compressed, the largest group first."""
    load_memory: dict[str, int] = field(default_factory=dict)
    """Peak memory of loading by way to decode, if it was measured; see `measure_load_memory`."""
    head: InspectedLayer | None = None
    """The head's own matrix; None if it runs on that of the embedding."""
    layers: list[InspectedLayer] = field(default_factory=list)
    """Compressed matrices beside the embedding."""
    layers_header: int = 0
    """Bytes of layers.safetensors before its first tensor, and of layers.json."""

    @property
    def embedding_after(self) -> int:
        """Bytes of the compressed matrix, and the head's own."""
        return self.stored_bits // 8

    @property
    def model_ratio(self) -> float:
        """Bits of the model before / after, both as stored."""
        return self.model_before / self.model_after

    def to_json(self) -> dict[str, Any]:
        """As plain JSON values."""
        derived = {"embedding_after": self.embedding_after, "model_ratio": self.model_ratio}
        return asdict(self) | derived


def inspect(folder: str | Path, memory: bool = False) -> Inspection:
    """Describe an exported model from the headers of its files.

    Args:
        folder: a folder that `compress_model` wrote.
        memory: load the model in each way to decode, and measure the peak memory (on Linux).

    Raises:
        UserError: if the folder contains no exported model, or one that is incomplete, altered or
            of a newer version.

    Example:
        >>> import embpress
        >>> from transformers import BertConfig, BertModel
        >>> config = BertConfig(vocab_size=200, hidden_size=32, num_hidden_layers=1,
        ...                     num_attention_heads=2, intermediate_size=64)
        >>> BertModel(config).save_pretrained("dense")
        >>> summary = embpress.compress_model("dense", "compressed", method="svd", ratio=2)
        >>> embpress.inspect("compressed").replaced
        ['embeddings.word_embeddings']
    """
    folder = Path(folder)
    manifest = read_manifest(folder)
    try:
        found = _inspect(folder, manifest)
    # A folder that `compress_model` did not write may fail here with any exception.
    except Exception as error:
        raise invalid_model_error(folder, summarize_error(error)) from error
    return replace(found, load_memory=measure_load_memory(folder)) if memory else found


def _inspect(folder: Path, manifest: Manifest) -> Inspection:
    """Describe the exported model of a checked manifest."""
    matrix_json = read_json(folder / storage.HEADER)
    matrix_tensors = read_header(folder / storage.TENSORS)
    other_tensors = read_header(folder / OTHER_WEIGHTS)
    stored = list_tensors(matrix_tensors)
    others = list_tensors(other_tensors)
    n_rows, d = matrix_json["shape"]
    head = _inspect_head(folder, manifest)
    n_bytes = sum(tensor.bytes for tensor in stored) + (head.bytes if head else 0)
    files = [*sorted(manifest["sha256"]), MANIFEST]
    before = manifest["before"]
    replaced = manifest["replaced"]
    n_values = before["embedding"] // getattr(torch, before["dtype"]).itemsize
    rest_bytes = sum(tensor.bytes for tensor in others)
    layers = [
        InspectedLayer(
            layer.name,
            layer.weights,
            layer.header["format"],
            layer.shape,
            layer.header["stored_bits"] // 8,
        )
        for layer in read_layer_list(folder)
    ]
    return Inspection(
        architecture=read_json(folder / CONFIG, MAX_MODEL_JSON_BYTES)["architectures"][0],
        method=manifest["made"]["method"],
        format=matrix_json["format"],
        shape=(n_rows, d),
        n_rows_before=n_values // d,
        replaced=[*replaced["lookups"], *replaced["heads"]],
        stored=stored,
        stored_bits=8 * n_bytes,
        matrix_header=_header_bytes(folder) + (_header_bytes(folder / HEAD) if head else 0),
        rest_header=other_tensors.n_bytes,
        embedding_before=before["embedding"],
        embedding_before_dtype=before["dtype"],
        embedding_ratio=32 * n_values / (8 * n_bytes),
        model_before=before["model"],
        model_after=n_bytes + rest_bytes + sum(layer.bytes for layer in layers),
        files={name: (folder / name).stat().st_size for name in files},
        kept=group_uncompressed(others, n_rows),
        head=head,
        layers=layers,
        layers_header=layers_header_bytes(folder) if layers else 0,
    )


def _inspect_head(folder: Path, manifest: Manifest) -> InspectedLayer | None:
    """The head's own matrix, if it has one."""
    replaced = manifest["replaced"]
    if not replaced.get("own_head"):
        return None
    header = read_json(folder / HEAD / storage.HEADER)
    n_rows, d = header["shape"]
    tensors = list_tensors(read_header(folder / HEAD / storage.TENSORS))
    return InspectedLayer(
        replaced["heads"][0],
        tuple(f"{name}.weight" for name in replaced["heads"]),
        header["format"],
        (n_rows, d),
        sum(tensor.bytes for tensor in tensors),
    )


def _header_bytes(folder: Path) -> int:
    """Bytes of a matrix folder beside the tensors."""
    return read_header(folder / storage.TENSORS).n_bytes + (folder / storage.HEADER).stat().st_size


def list_tensors(header: SafetensorsHeader) -> list[Stored]:
    """Tensors of a file with their sizes, sorted by name."""
    return [
        Stored(name, tensor.dtype, tensor.shape, tensor.n_bytes)
        for name, tensor in sorted(header.tensors.items())
    ]


def group_uncompressed(tensors: list[Stored], n_rows: int) -> list[Group]:
    """Group weights by the reason why they were not compressed, the largest group first.

    Args:
        tensors: all weights but the compressed matrix.
        n_rows: number of rows of the embedding, by which an untied head is recognized.
    """
    sizes: dict[tuple[str, str], int] = defaultdict(int)
    for tensor in tensors:
        sizes[_group_and_reason(tensor, n_rows)] += tensor.bytes
    groups = [Group(name, n_bytes, why) for (name, why), n_bytes in sizes.items()]
    return sorted(groups, key=lambda group: -group.bytes)


def _group_and_reason(tensor: Stored, n_rows: int) -> tuple[str, str]:
    """Name of the group of a weight, and why it was not compressed."""
    parts = tensor.name.split(".")
    if len(tensor.shape) == MATRIX_AXES and tensor.shape[0] == n_rows:
        return (
            f"{tensor.name}: one row per token",
            "an output head or table that is not tied to the embedding: left dense",
        )
    if tensor.shape == (n_rows,):
        return "bias of the output head", "one number per token"
    if any("position" in part or part == "wpe" for part in parts):
        return "position embeddings", "not a token embedding"
    if any("token_type" in part for part in parts):
        return "token type embeddings", "not a token embedding"
    numbers = [i for i, part in enumerate(parts) if part.isdecimal()]
    if numbers:
        return f"layers {'.'.join(parts[: numbers[0]])}.*", "not an embedding"
    return ".".join(parts[:-1]) or parts[0], "not an embedding"
