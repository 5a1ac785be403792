"""Singular values of every embedding matrix of a study, which bound low-rank methods."""

from typing import Any

import pandas
import torch

from ..models.checkpoints import embedding_matrix
from ..numerics.linalg import gram
from ..study.study import Study
from .aggregation import Evaluation, checkpoint_title


def spectra(study: Study, evaluations: list[Evaluation]) -> pandas.DataFrame:
    """Compute the singular values of each checkpoint's embedding, largest first.

    Of a fine-tuned checkpoint, the first seed's embedding is used.

    Returns:
        One row a component: model, rows, dims, component (from 1), singular_value.
    """
    folders: dict[str, Any] = {}
    for evaluation in evaluations:  # students start from a checkpoint that they share with others
        folders.setdefault(study.checkpoint_of(evaluation.task), evaluation.checkpoint)
    rows = []
    for name, folder in folders.items():
        matrix = embedding_matrix(folder)
        values = torch.linalg.eigvalsh(gram(matrix)).clamp(min=0).sqrt().flip(0)
        shared = {
            "model": checkpoint_title(study, name),
            "rows": matrix.shape[0],
            "dims": matrix.shape[1],
        }
        rows += [
            shared | {"component": i, "singular_value": float(v)}
            for i, v in enumerate(values, start=1)
        ]
    return pandas.DataFrame(rows)
