"""Compress the embedding of a described checkpoint, and say how near and how small it came out."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

from .. import storage
from ..data.token_counts import read_counts
from ..errors import InfeasibleRatio, UserError
from ..fidelity.record import RESULT, measured
from ..files import atomic_directory, write_json
from ..methods import compress
from ..methods._base import Context
from ..models.checkpoints import embedding_matrix, read_metadata
from ..models.sensitivity_file import read_sensitivity


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
        UserError: if the matrix or the options cannot be used, or counts and matrix differ in
            length.
    """
    about = read_metadata(checkpoint)
    counts = read_counts(counts_file)
    matrix = embedding_matrix(checkpoint)
    if len(counts) != len(matrix):
        raise UserError(
            f"{counts_file} counts {len(counts)} tokens, but {checkpoint} has {len(matrix)} rows: count anew"
        )
    context = Context(counts, special_ids=tuple(about["special_ids"]), seed=seed, progress=progress)
    if sensitivity_file is not None:
        context.sensitivity = read_sensitivity(sensitivity_file, len(matrix))
    with atomic_directory(folder) as whole:
        try:
            compressed = compress(matrix, method, ratio, context, **options)
        except InfeasibleRatio as reason:
            result: dict[str, Any] = {"infeasible": str(reason)}
        else:
            storage.save(
                compressed,
                whole,
                {"method": method, "options": options, "ratio": ratio, "seed": seed},
            )
            result = measured(matrix, compressed, counts)
        write_json(whole / RESULT, result)
    return result
