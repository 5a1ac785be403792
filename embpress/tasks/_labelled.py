"""What tasks with labelled examples share.

Reading their splits when they are needed, and the head to fine-tune.
"""

from abc import abstractmethod
from functools import cached_property
from typing import Any, Self

import numpy as np

from ..study.task_files import is_one_file
from . import _metrics as metrics
from ._base import Inputs, Outcomes, Task
from ._examples import (
    Examples,
    Label,
    LabelledRows,
    hold_out,
    read_labels,
    read_split,
    sample,
    split_file,
    to_examples,
)


class LabelledTask(Task):
    """A task whose examples are rows with a label.

    See the config's schema for what `data` may say.
    """

    @abstractmethod
    def read_label(self, value: str) -> Label:
        """A label as it stands in a file to its position or number.

        Raises:
            ValueError: "not ..." or "none of ...", where it is no label of this task.
        """

    @abstractmethod
    def head_options(self) -> dict[str, Any]:
        """What the model's config must say of its head when it is fine-tuned."""

    @staticmethod
    def sizes(outcomes: Outcomes) -> dict[str, int]:
        """See base class."""
        return {"example": len(outcomes["label"])}

    @classmethod
    def scores(cls, outcomes: Outcomes, draws: dict[str, np.ndarray]) -> dict[str, np.ndarray]:
        """See base class: each metric of `predicted` against `label`."""
        predicted, gold = (outcomes[name][draws["example"]] for name in ("predicted", "label"))
        return {
            metric.name: getattr(metrics, metric.name)(predicted, gold) for metric in cls.metrics
        }

    @cached_property
    def train(self) -> Examples:
        """Training examples: all rows of the split, or `train_examples` of them."""
        return self._examples(self.training())

    @cached_property
    def test(self) -> Examples:
        """Test examples: all rows of the split, or `test_examples` of them."""
        return self._examples(self.testing())

    def training(self) -> LabelledRows:
        """Rows of the training examples."""
        rows = self._one_file[0] if is_one_file(self.config) else self._whole("train")
        self.check_training_labels(rows.labels, rows.name)
        return self._chosen(rows, "train_examples")

    def testing(self) -> LabelledRows:
        """Rows of the test examples."""
        rows = self._one_file[1] if is_one_file(self.config) else self._whole("test")
        return self._chosen(rows, "test_examples")

    def within_training(self, held_out: float) -> Self:
        """The same task on its training examples alone, of which a share that is held out takes the
        place of the test.

        Raises:
            UserError: if there are too few examples.
        """
        train, test = hold_out(self.training(), self.config["data"], held_out)
        task = type(self)(self.config, Inputs({}))  # it can read nothing else
        task.train = self._examples(train)
        task.test = self._examples(test)
        return task

    def check_training_labels(self, labels: list[Label], name: str) -> None:
        """Refuse training rows that cannot teach the task; nothing is refused here."""

    def _whole(self, split: str) -> LabelledRows:
        """A split's rows and their labels."""
        table = read_split(self.config["data"], split, self.inputs)
        return LabelledRows(
            table.name, table.rows, read_labels(table, self.config["data"], self.read_label)
        )

    @cached_property
    def _one_file(self) -> tuple[LabelledRows, LabelledRows]:
        """Training and test rows of the only file."""
        return split_file(self._whole("test"), self.config["data"], self.config["test_examples"])

    def _chosen(self, rows: LabelledRows, key: str) -> LabelledRows:
        """As many of the rows as the config asks for."""
        return rows.at(sample(len(rows.rows), self.config.get(key), key, rows.name))

    def _examples(self, rows: LabelledRows) -> Examples:
        """Texts and labels of rows."""
        return to_examples(rows.rows, rows.labels, self.config["data"])
