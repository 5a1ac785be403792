"""What a task is: test examples, what a model predicts for each, and metrics over all of them.

Imports no torch, as the files of tasks also hold the typed entries of studies.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, ClassVar, Generic, TypeVar

from ..study.task_entry import SPLITS, Metric, TaskEntry

if TYPE_CHECKING:
    import numpy as np
    from transformers import PreTrainedModel, PreTrainedTokenizerBase

    Outcomes = dict[str, np.ndarray]
else:
    Outcomes = dict
"""Arrays by name; the first axis of each counts the examples that are resampled."""

Progress = Callable[[str], None]
"""Called with a line about every batch."""
Entry = TypeVar("Entry", bound=TaskEntry)


@dataclass
class TaskInputs:
    """Files that a task may read, by the names its entry uses."""

    wheels: dict[str, Path]
    held_out: Path | None = None
    """Held-out texts of the task's corpus, for language modelling."""
    files: dict[str, Path] = field(default_factory=dict)
    """Files of `train` and `test`, where they are not in a wheel."""

    @classmethod
    def of(cls, named: dict[str, Path]) -> TaskInputs:
        """Files of a job by name: `held_out`, `train`, `test`, and the packages of wheels."""
        files = {name: path for name, path in named.items() if name in SPLITS}
        wheels = {name: path for name, path in named.items() if name not in (*files, "held_out")}
        return cls(wheels, named.get("held_out"), files)


class Task(ABC, Generic[Entry]):
    """A kind of task; subclasses are defined one in a file of this folder.

    Args:
        entry: the task's entry in the study.
        inputs: files that it reads.
    """

    entry_model: ClassVar[type[TaskEntry]]
    """The typed entry of the kind."""
    metrics: ClassVar[tuple[Metric, ...]]
    """The main metric first."""
    head: str
    """Head that the model is loaded with, as `models.loading.auto_class` knows it."""

    reference: Outcomes | None = None
    """Outcomes of the uncompressed model, where others are compared with them."""

    def __init__(self, entry: Entry, inputs: TaskInputs) -> None:
        self.entry = entry
        self.inputs = inputs

    def set_reference(self, model: PreTrainedModel, outcomes: Outcomes) -> None:
        """Compare further models with the uncompressed one.

        Args:
            model: the uncompressed model, before its matrices are replaced.
            outcomes: what `outcomes` returned of it.
        """
        self.reference = outcomes

    @abstractmethod
    def outcomes(
        self, model: PreTrainedModel, tokenizer: PreTrainedTokenizerBase, progress: Progress
    ) -> Outcomes:
        """Run the model over the test examples."""

    @staticmethod
    @abstractmethod
    def n_resampling_units(outcomes: Outcomes) -> dict[str, int]:
        """Numbers of units that the bootstrap resamples, by the name `scores` knows them by."""

    @staticmethod
    @abstractmethod
    def scores(
        outcomes: Outcomes, bootstrap_indices: dict[str, np.ndarray]
    ) -> dict[str, np.ndarray]:
        """Every metric on each of B samples of the units, (B,) each.

        Args:
            outcomes: as `outcomes` returned them.
            bootstrap_indices: positions of the sampled units, (B, n) for each name of
                `n_resampling_units`.
        """

    @staticmethod
    def n_examples(outcomes: Outcomes) -> dict[str, int]:
        """Number of examples behind each metric, where it is not the number of units."""
        return {}
