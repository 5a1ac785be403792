"""The record of a compressed matrix, result.json: size, errors and distance to the bound."""

from typing import Any

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
