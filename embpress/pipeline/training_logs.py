"""What checkpoints and students recorded of their training."""

import json
import math
from pathlib import Path
from typing import Any

import pandas

LOG = "training.json"
"""Beside what was trained: {"rows".

[{"step", "epoch", "loss", "learning_rate", and of some "held_out_loss"}]}.
"""
FINETUNED = "finetuned"
ON_TEXT = "students_on_text"
STUDENTS = "students"
"""Folders under results/, a stage of training each."""
COLUMNS = [
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


def read_logs(folders: list[Path]) -> pandas.DataFrame:
    """One row a record, NaN where it lacks a value; of students' loss the sum of its terms.

    Args:
        folders: STAGE/TASK/seedN of checkpoints, whose rows have no method and no ratio, and
            STAGE/TASK/seedN/METHOD/RATIO of students. Those without a log, as of a ratio out of
            reach, give no row.
    """
    rows: list[dict[str, Any]] = []
    for folder in folders:
        if (folder / LOG).is_file():
            about = _about(folder)
            # A term of a student's loss is called "task" too.
            rows += [
                row | about
                for row in json.loads((folder / LOG).read_text(encoding="utf-8"))["rows"]
            ]
    return pandas.DataFrame(rows, columns=COLUMNS)


def _about(folder: Path) -> dict[str, Any]:
    """What a folder's path says of it."""
    of_student = not folder.name.startswith("seed")
    stage, task, seed = (folder.parents[1] if of_student else folder).parts[-3:]
    method, ratio = (folder.parent.name, float(folder.name)) if of_student else ("", math.nan)
    return {
        "stage": stage,
        "task": task,
        "method": method,
        "ratio": ratio,
        "seed": int(seed.removeprefix("seed")),
    }
