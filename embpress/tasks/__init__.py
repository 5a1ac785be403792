"""Kinds of tasks, one file each; a new file here is a new kind in every study.

Importing this package imports no torch, so that a study can be checked where torch is not
installed.
"""

import importlib
from collections.abc import Mapping
from functools import lru_cache
from pathlib import Path
from typing import Any

from pydantic import ValidationError

from ..errors import UserError
from ..study.fields import nearest
from ..study.task_entry import Metric, TaskEntry
from ..study.validation_errors import user_error
from ._base import Outcomes, Task, TaskInputs
from ._labelled import LabelledTask

FOLDER = Path(__file__).parent


def kinds() -> list[str]:
    """Names of all kinds: the files in this folder that do not begin with an underscore."""
    return sorted(path.stem for path in FOLDER.glob("*.py") if not path.stem.startswith("_"))


@lru_cache
def task_class(kind: str) -> type[Task[Any]]:
    """The one class of tasks in the file `kind`.

    Raises:
        UserError: if there is no such kind.
    """
    if kind not in kinds():
        raise UserError(f"there is no task kind {kind!r}{nearest(kind, kinds())}")
    module = importlib.import_module(f"{__name__}.{kind}")
    classes = [value for value in vars(module).values() if isinstance(value, type)]
    (own,) = [c for c in classes if issubclass(c, Task) and c.__module__ == module.__name__]
    return own


def checkpoint_head(kind: str, is_finetuned: bool) -> str:
    """Head with which a checkpoint is loaded, a key of `loading.AUTO_CLASSES`.

    Args:
        kind: of the task for which it is fine-tuned, or which evaluates it.
        is_finetuned: otherwise it has no head for labels.
    """
    task = task_class(kind)
    return "encoder" if task.entry_model.has_labels and not is_finetuned else task.head


def entry_model(kind: str) -> type[TaskEntry]:
    """The typed entry of a kind of tasks.

    Raises:
        UserError: if there is no such kind.
    """
    return task_class(kind).entry_model


def parse_entry(values: Mapping[str, Any], where: str) -> TaskEntry:
    """The typed entry of what a study says of a task.

    Args:
        values: the entry's keys and values.
        where: dotted place of the entry, for errors.

    Raises:
        UserError: if a key or value is wrong; with its place and what would be right.
    """
    if "kind" not in values:
        raise UserError(f"{where}: 'kind' is missing{nearest('', kinds())}")
    try:
        model = entry_model(str(values["kind"]))
    except UserError as error:
        raise UserError(f"{where}.kind: {error}") from None
    try:
        return model.model_validate(dict(values))
    except ValidationError as error:
        raise user_error(error, where, values) from None


def create_task(values: Mapping[str, Any], inputs: TaskInputs) -> Task[Any]:
    """The task of a job's entry, which may lack the label that only tables show.

    Raises:
        UserError: if the entry is wrong, or the task's files are.
    """
    entry = parse_entry({"label": "", **values}, "the task")
    return task_class(entry.kind)(entry, inputs)


__all__ = [
    "LabelledTask",
    "Metric",
    "Outcomes",
    "Task",
    "TaskInputs",
    "create_task",
    "entry_model",
    "kinds",
    "parse_entry",
    "task_class",
]
