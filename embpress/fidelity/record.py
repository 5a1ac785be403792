"""The record of a compressed matrix, result.json: size, errors and distance to the bound."""

import json
from dataclasses import dataclass, fields
from pathlib import Path
from typing import Any, TypedDict

from torch import Tensor

from ..formats._base import CompressedMatrix
from ..numerics.weights import smooth_counts
from .rate_distortion import GaussianSource, distance_db
from .reconstruction import Reconstruction, reconstruction

RESULT = "result.json"
"""File of the record; if no result is possible, it has the reason under `infeasible`."""


def result_record(matrix: Tensor, compressed: CompressedMatrix, counts: Tensor) -> dict[str, Any]:
    """Size and errors of a compressed matrix for the file `RESULT`."""
    metrics = reconstruction(matrix.float(), compressed, counts)
    return {
        "stored_bits": compressed.stored_bits,
        "stored_floats": compressed.stored_floats,
        "ratio": compressed.ratio,
        "reconstruction": metrics.to_json(),
        "bound": distance_to_bound(matrix, counts, compressed.ratio, metrics),
    }


def distance_to_bound(
    matrix: Tensor, counts: Tensor, ratio: float, metrics: Reconstruction
) -> dict[str, float | None]:
    """Rate-distortion bounds on the errors at the achieved ratio, and the distance in dB."""
    source = GaussianSource.from_matrix(matrix)
    bound = source.relative_error(ratio)
    weighted_bound = source.relative_error(ratio, smooth_counts(counts))
    return {
        "error_bound": bound,
        "weighted_error_bound": weighted_bound,
        "distance_db": distance_db(metrics.relative_error, bound),
        "weighted_distance_db": distance_db(metrics.weighted_relative_error, weighted_bound),
    }


class MatrixRecord(TypedDict):
    """Sizes, error and cost of one compressed matrix among several of a model."""

    kind: str
    """Among `layer_kinds.KINDS`, or OTHER."""
    name: str
    """Its folder within the artefact."""
    method: str
    shape: list[int]
    """(rows, d), of all layers that share the matrix together."""
    matrices: int
    """How many dense matrices it replaces."""
    dense_bits: int
    bits: int
    floats: int | None
    """None where integer codes carry the values."""
    ratio: float | None
    dense_flops: int
    flops: int
    """Floating-point operations of the products for `layer_compression.TOKENS` tokens."""
    squared_error: float
    """Sum over all elements of the squared difference to the dense matrix."""
    energy: float
    """Sum over all elements of the squared dense matrix."""


@dataclass(frozen=True)
class Infeasible:
    """A ratio that a method cannot reach."""

    reason: str

    def to_json(self) -> dict[str, str]:
        """Content of RESULT."""
        return {"infeasible": self.reason}


@dataclass(frozen=True)
class Fitted:
    """Sizes and errors of what a fit has stored: the embedding's matrix, or several of a model."""

    stored_bits: int
    stored_floats: int | None = None
    """None where integer codes carry the values."""
    ratio: float | None = None
    """Dense fp32 bits / stored bits; None where nothing is stored."""
    reconstruction: dict[str, Any] | None = None
    """`Reconstruction.to_json`, of an embedding compressed alone."""
    bound: dict[str, float | None] | None = None
    """Rate-distortion bound and distances to it, of an embedding compressed alone."""
    dense_floats: int | None = None
    """Of all compressed matrices before their compression; None for an embedding alone."""
    dense_embedding_floats: int | None = None
    """Of these the embedding's, 0 if it stays dense; None for an embedding alone."""
    other_bits: int | None = None
    """Bits of all other weights of the model; None where they stay in fp32."""
    modules: list[MatrixRecord] | None = None
    """One record a matrix; None for an embedding alone."""

    def to_json(self) -> dict[str, Any]:
        """Content of RESULT; keys that do not apply are left out."""
        always = ("stored_bits", "stored_floats", "ratio")
        values = {field.name: getattr(self, field.name) for field in fields(self)}
        return {key: v for key, v in values.items() if key in always or v is not None}


def read_result(folder: Path) -> Fitted | Infeasible:
    """Read the RESULT of an artefact's folder."""
    value: dict[str, Any] = json.loads((folder / RESULT).read_text(encoding="utf-8"))
    if "infeasible" in value:
        return Infeasible(value["infeasible"])
    return Fitted(**{f.name: value[f.name] for f in fields(Fitted) if f.name in value})
