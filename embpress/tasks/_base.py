"""What a task is: examples, what a model does with them one by one.

And the official metric over all of them.
"""

from abc import ABC, abstractmethod
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
from transformers import PreTrainedModel, PreTrainedTokenizerBase

from ..study.task_files import SPLITS

Outcomes = dict[str, np.ndarray]
"""What came out for each example; the first axis of every array counts examples."""


@dataclass(frozen=True)
class Metric:
    """How a score is called and read."""

    name: str
    label: str
    higher_is_better: bool = True
    percent: bool = True
    """Shown times 100."""


@dataclass
class Inputs:
    """Files that a task may read, by the names its config entry uses."""

    wheels: dict[str, Path]
    held_out: Path | None = None
    """Held-out texts of the task's corpus, for language modelling."""
    files: dict[str, Path] = field(default_factory=dict)
    """Files of `train` and `test`, where they are no members of a wheel."""

    @classmethod
    def of(cls, named: dict[str, Path]) -> "Inputs":
        """Files of a job by their names.

        `held_out`, `train`, `test`, and else the packages of wheels.
        """
        files = {name: path for name, path in named.items() if name in SPLITS}
        wheels = {name: path for name, path in named.items() if name not in (*files, "held_out")}
        return cls(wheels, named.get("held_out"), files)


class Task(ABC):
    """One kind of task; subclasses live one a file in this folder."""

    metrics: ClassVar[tuple[Metric, ...]]
    """The main metric first."""
    head: ClassVar[str]
    """Which head the model is loaded with: a key of embpress.models.AUTO_CLASSES."""

    def __init__(self, config: dict[str, Any], inputs: Inputs) -> None:
        self.config = config
        self.inputs = inputs

    @abstractmethod
    def outcomes(
        self,
        model: PreTrainedModel,
        tokenizer: PreTrainedTokenizerBase,
        progress: Callable[[str], None],
    ) -> Outcomes:
        """Run the model over the test examples."""

    @staticmethod
    @abstractmethod
    def sizes(outcomes: Outcomes) -> dict[str, int]:
        """Numbers of examples to resample.

        By the name under which `scores` takes the drawn positions.
        """

    @staticmethod
    @abstractmethod
    def scores(outcomes: Outcomes, draws: dict[str, np.ndarray]) -> dict[str, np.ndarray]:
        """Every metric on each draw of examples.

        Positions of shape (B, n) to scores of shape (B,).
        """

    @staticmethod
    def examples(outcomes: Outcomes) -> dict[str, int]:
        """N of every metric, where it is not the number of examples of the only sample."""
        return {}
