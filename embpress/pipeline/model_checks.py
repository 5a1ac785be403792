"""Check that a prepared model can do the tasks of a study, before anything is trained or fitted."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from transformers import AutoConfig, AutoModel

from ..errors import UserError
from ..models.loading import class_with_head
from ..models.positions import check_length
from ..tasks import parse_entry, task_class


def check_tasks(checkpoint: Path, tasks: Mapping[str, Mapping[str, Any]]) -> None:
    """Check heads and lengths of the tasks that a study runs on a checkpoint.

    Args:
        checkpoint: folder of the prepared model, of which only the config is read.
        tasks: the tasks' entries by name, which may lack the label.

    Raises:
        UserError: with the first task whose head transformers lacks for the model, or whose inputs
            are longer than the model's positions.
    """
    with torch.device("meta"):
        skeleton = AutoModel.from_config(AutoConfig.from_pretrained(checkpoint))
    for name, values in tasks.items():
        entry = parse_entry({"label": "", **values}, f"tasks.{name}")
        try:
            class_with_head(checkpoint, task_class(entry.kind).head)
            if entry.input_length is not None:
                check_length(skeleton, *entry.input_length)
        except UserError as error:
            raise UserError(f"tasks.{name}: {error}") from error
