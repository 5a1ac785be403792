"""Read the training logs of checkpoints and students into one table."""

import json
import math
from typing import Any

import pandas

from ..study.artefact import TrainedModel

LOG = "training.json"
"""File beside a trained model: {"rows": [{"step", "epoch", "loss", "learning_rate", ...}]}.

Rows after a validation also hold "held_out_loss".
"""
LOG_COLUMNS = [
    "stage",
    "task",
    "method",
    "ratio",
    "seed",
    "step",
    "epoch",
    "loss",
    "held_out_loss",
    "learning_rate",
]


def read_logs(models: list[TrainedModel]) -> pandas.DataFrame:
    """Read the logs of trained models.

    Args:
        models: checkpoints and students; those without a log, such as students at an infeasible
            ratio, give no row.

    Returns:
        One row of LOG_COLUMNS a record of a log, NaN where the record lacks a value. The loss of a
        student is the sum of its terms. Checkpoints have an empty method and no ratio.
    """
    rows: list[dict[str, Any]] = []
    for model in models:
        file = model.folder / LOG
        if not file.is_file():
            continue
        keys = {
            "stage": model.stage,
            "task": model.task,
            "method": model.variant,
            "ratio": math.nan if model.ratio is None else model.ratio,
            "seed": model.seed,
        }
        # The keys replace a record's "task", a term of a student's loss.
        rows += [row | keys for row in json.loads(file.read_text(encoding="utf-8"))["rows"]]
    return pandas.DataFrame(rows, columns=LOG_COLUMNS)
