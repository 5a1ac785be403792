"""Compress the embedding of a described checkpoint, and say how near and how small it came out."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

from torch import Tensor

from . import storage
from .checkpoints import card, embedding_matrix
from .counting.frequency import read_counts, smoothed
from .errors import InfeasibleRatio, UserError
from .fidelity.rate_distortion import Source, distance_db
from .fidelity.reconstruction import Reconstruction, reconstruction
from .files import whole_new_folder, write_json
from .formats.base import CompressedMatrix
from .methods import compress
from .methods.base import Context
from .sensitivity_file import read_sensitivity

RESULT = "result.json"
"""What came out: sizes and errors, or under `infeasible` why nothing could."""


def compress_checkpoint(
    checkpoint: Path,
    counts_file: Path,
    method: str,
    options: dict[str, Any],
    ratio: float,
    seed: int,
    folder: Path,
    progress: Callable[[str], None],
    sensitivity_file: Path | None = None,
) -> dict[str, Any]:
    """Fit a method to a checkpoint's embedding and write the artefact and RESULT to `folder`.

    Returns:
        What RESULT holds. A ratio that the method cannot reach is a result, not an error.

    Raises:
        UserError: if the matrix or the options cannot be used, or counts and matrix differ in length.
    """
    about, counts = card(checkpoint), read_counts(counts_file)
    matrix = embedding_matrix(checkpoint)
    if len(counts) != len(matrix):
        raise UserError(f"{counts_file} counts {len(counts)} tokens, but {checkpoint} has {len(matrix)} rows: count anew")
    context = Context(counts, special_ids=tuple(about["special_ids"]), seed=seed, progress=progress)
    if sensitivity_file is not None:
        context.sensitivity = read_sensitivity(sensitivity_file, len(matrix))
    with whole_new_folder(folder) as whole:
        try:
            compressed = compress(matrix, method, ratio, context, **options)
        except InfeasibleRatio as reason:
            result: dict[str, Any] = {"infeasible": str(reason)}
        else:
            storage.save(compressed, whole, {"method": method, "options": options, "ratio": ratio, "seed": seed})
            result = measured(matrix, compressed, counts)
        write_json(whole / RESULT, result)
    return result


def measured(matrix: Tensor, compressed: CompressedMatrix, counts: Tensor) -> dict[str, Any]:
    """Size and errors of a compressed matrix, as RESULT holds them."""
    near = reconstruction(matrix.float(), compressed, counts)
    return {
        "stored_bits": compressed.stored_bits,
        "stored_floats": compressed.stored_floats,
        "ratio": compressed.ratio,
        "reconstruction": near.to_json(),
        "bound": bounded(matrix, counts, compressed.ratio, near),
    }


def bounded(matrix: Tensor, counts: Tensor, ratio: float, near: Reconstruction) -> dict[str, float | None]:
    """Errors that no code for Gaussian rows beats at the ratio reached, and how far above them these ones are."""
    source = Source.of(matrix)
    bound, weighted_bound = source.relative_error(ratio), source.relative_error(ratio, smoothed(counts))
    return {
        "error_bound": bound,
        "weighted_error_bound": weighted_bound,
        "distance_db": distance_db(near.relative_error, bound),
        "weighted_distance_db": distance_db(near.weighted_relative_error, weighted_bound),
    }
