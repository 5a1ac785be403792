"""Kinds of tasks, one file each: data to tensors to the official metric."""

from ..errors import UserError
from ._base import Inputs, Metric, Outcomes, Task
from ._labelled import LabelledTask
from .classification import Classification
from .language_modelling import LanguageModelling
from .multiple_choice import MultipleChoice
from .regression import Regression
from .retrieval import Retrieval
from .similarity import Similarity
from .span import Span

KINDS: dict[str, type[Task]] = {
    "classification": Classification,
    "language_modelling": LanguageModelling,
    "multiple_choice": MultipleChoice,
    "regression": Regression,
    "retrieval": Retrieval,
    "similarity": Similarity,
    "span": Span,
}


def task_class(kind: str) -> type[Task]:
    """The task class of a config entry's `kind`.

    Raises:
        UserError: if there is no such kind.
    """
    if kind not in KINDS:
        raise UserError(f"there is no task kind {kind!r}; there are {', '.join(KINDS)}")
    return KINDS[kind]


__all__ = ["KINDS", "Inputs", "LabelledTask", "Metric", "Outcomes", "Span", "Task", "task_class"]
