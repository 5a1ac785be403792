"""What a compressed matrix's record, result.json, holds.

Sizes, errors and the distance to the bound.
"""

from typing import Any

from torch import Tensor

from ..formats._base import CompressedMatrix
from ..numerics.weights import smooth_counts
from .rate_distortion import GaussianSource, distance_db
from .reconstruction import Reconstruction, reconstruction

RESULT = "result.json"
"""What came out: sizes and errors, or under `infeasible` why nothing could."""


def result_record(matrix: Tensor, compressed: CompressedMatrix, counts: Tensor) -> dict[str, Any]:
    """Size and errors of a compressed matrix, as RESULT holds them."""
    near = reconstruction(matrix.float(), compressed, counts)
    return {
        "stored_bits": compressed.stored_bits,
        "stored_floats": compressed.stored_floats,
        "ratio": compressed.ratio,
        "reconstruction": near.to_json(),
        "bound": distance_to_bound(matrix, counts, compressed.ratio, near),
    }


def distance_to_bound(
    matrix: Tensor, counts: Tensor, ratio: float, near: Reconstruction
) -> dict[str, float | None]:
    """Errors that no code for Gaussian rows beats at the ratio reached.

    And how far above them these ones are.
    """
    source = GaussianSource.from_matrix(matrix)
    bound = source.relative_error(ratio)
    weighted_bound = source.relative_error(ratio, smooth_counts(counts))
    return {
        "error_bound": bound,
        "weighted_error_bound": weighted_bound,
        "distance_db": distance_db(near.relative_error, bound),
        "weighted_distance_db": distance_db(near.weighted_relative_error, weighted_bound),
    }
