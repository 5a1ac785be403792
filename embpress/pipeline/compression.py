"""Compress the embedding of a checkpoint, and record its size and errors."""

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import torch
from torch import Tensor

from .. import storage
from ..data.token_counts import read_counts
from ..errors import InfeasibleRatio, UserError
from ..fidelity.record import RESULT, Fitted, Infeasible, result_record
from ..files import atomic_directory, write_json
from ..methods import compress
from ..methods._base import Context
from ..models.checkpoints import embedding_matrix, read_metadata
from ..models.sensitivity_file import read_sensitivity
from ..numerics.device import CPU
from ..study.artefact import Artefact
from ..study.method_entry import MatrixSpec


@dataclass(frozen=True)
class FitInputs:
    """Files that a fit reads, and where it computes."""

    checkpoint: Path
    """Folder of a checkpoint with metadata."""
    counts: Path
    """Token counts, one a row of the embedding."""
    sensitivity: Path | None = None
    """Sensitivities of the model to the rows of its matrices, for methods that weight by them."""
    device: torch.device = CPU
    """Where methods with `uses_device` compute."""


def compress_checkpoint(
    inputs: FitInputs,
    spec: MatrixSpec,
    artefact: Artefact,
    progress: Callable[[str], None],
) -> Fitted | Infeasible:
    """Fit a method to a checkpoint's embedding, and write the matrix and RESULT.

    Args:
        inputs: the files to read.
        spec: the method and its options.
        artefact: the folder to write, with the target ratio and the seed of the fit.
        progress: called with a line about every step.

    Returns:
        The content of RESULT. A ratio that the method cannot reach is a result, not an error.

    Raises:
        UserError: if the matrix or the options cannot be used, or counts and matrix differ in
            length.
    """
    counts = read_counts(inputs.counts)
    matrix = embedding_matrix(inputs.checkpoint)
    context = _fit_context(inputs, counts, len(matrix), artefact.seed, progress)
    settings = {
        "method": spec.method,
        "options": spec.options,
        "ratio": artefact.ratio,
        "seed": artefact.seed,
    }
    with atomic_directory(artefact.folder) as folder:
        result: Fitted | Infeasible
        try:
            compressed = compress(matrix, spec.method, artefact.ratio, context, **spec.options)
        except InfeasibleRatio as reason:
            result = Infeasible(str(reason))
        else:
            storage.save(compressed, folder, settings)
            result = Fitted(**result_record(matrix, compressed, counts))
        write_json(folder / RESULT, result.to_json())
    return result


def _fit_context(
    inputs: FitInputs, counts: Tensor, n_rows: int, seed: int, progress: Callable[[str], None]
) -> Context:
    """Counts, special tokens and sensitivities of an embedding of `n_rows` rows."""
    if len(counts) != n_rows:
        raise UserError(
            f"{inputs.counts} counts {len(counts)} tokens, but {inputs.checkpoint} has {n_rows} "
            "rows: count the tokens again"
        )
    special_ids = tuple(read_metadata(inputs.checkpoint)["special_ids"])
    context = Context(counts, special_ids, seed, progress, device=inputs.device)
    if inputs.sensitivity is not None:
        context.sensitivity = read_sensitivity(inputs.sensitivity, n_rows)
    return context
