"""The spectrum of every embedding matrix of a study: what a low-rank method has to cut off."""

from typing import Any

import pandas
import torch

from ..analysis.aggregation import Evaluation, checkpoint_label
from ..checkpoints import embedding_matrix
from ..linalg import gram


def spectra(config: dict[str, Any], evaluations: list[Evaluation]) -> pandas.DataFrame:
    """Singular values of each checkpoint's embedding, largest first; of a fine-tuned one the first seed's.

    Returns:
        One row a component: model, rows, dims, component (from 1), singular_value.
    """
    checkpoints: dict[str, Any] = {}
    for evaluation in evaluations:
        checkpoints.setdefault(checkpoint_label(config, evaluation.task), evaluation.checkpoint)
    found = []
    for model, checkpoint in checkpoints.items():
        matrix = embedding_matrix(checkpoint)
        values = torch.linalg.eigvalsh(gram(matrix)).clamp(min=0).sqrt().flip(0)
        about = {"model": model, "rows": matrix.shape[0], "dims": matrix.shape[1]}
        found += [about | {"component": i, "singular_value": float(v)} for i, v in enumerate(values, start=1)]
    return pandas.DataFrame(found)
