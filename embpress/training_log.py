"""What checkpoints recorded of their training."""

import json
from pathlib import Path
from typing import Any

import pandas

LOG = "training.json"
"""Beside a trained checkpoint: {"rows": [{"step", "epoch", "loss", "learning_rate", and where measured "score"}]}."""
COLUMNS = ["checkpoint", "seed", "step", "epoch", "loss", "learning_rate", "score"]


def read_logs(folders: list[Path]) -> pandas.DataFrame:
    """One row a record, NaN where it lacks a value. Folders end on CHECKPOINT/seedN; those without a log give no row."""
    rows: list[dict[str, Any]] = []
    for folder in folders:
        if (folder / LOG).is_file():
            about = {"checkpoint": folder.parent.name, "seed": int(folder.name.removeprefix("seed"))}
            rows += [about | row for row in json.loads((folder / LOG).read_text(encoding="utf-8"))["rows"]]
    return pandas.DataFrame(rows, columns=COLUMNS)
