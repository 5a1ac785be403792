"""What tasks with labelled rows share: reading rows, encoding, and fine-tuning a head."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Callable
from functools import cached_property
from typing import TYPE_CHECKING, Any, Self, TypeVar

from ..data.rows import Table, read_table
from ..study.task_entry import LabelledTaskEntry
from ._base import Outcomes, Task, TaskInputs
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

if TYPE_CHECKING:
    import numpy as np
    from torch import Tensor
    from transformers import PreTrainedTokenizerBase
    from transformers.modeling_outputs import ModelOutput

Labelled = TypeVar("Labelled", bound=LabelledTaskEntry)
Batch = dict[str, "Tensor"]
EncodedRow = dict[str, Any]
"""Lists of token ids and so on, and labels, by the name of the model's argument."""


class LabelledTask(Task[Labelled]):
    """A task whose examples are rows with a label, on which a head can be fine-tuned."""

    @abstractmethod
    def read_label(self, value: str) -> Label:
        """Position or number of a label as it is written in a file.

        Raises:
            ValueError: "not ..." or "none of ...", where it is not a label of this task.
        """

    @abstractmethod
    def head_options(self) -> dict[str, Any]:
        """Options of the model's config that the head needs when it is fine-tuned."""

    def training_rows(self, tokenizer: PreTrainedTokenizerBase) -> list[EncodedRow]:
        """Training examples as the model's inputs, with `labels`.

        Token ids (T,) of a text or pair, or a list of them for each choice.
        """
        from ._encoding import encode_examples

        return encode_examples(self.train, tokenizer, self.entry.max_length)

    def data_collator(
        self, tokenizer: PreTrainedTokenizerBase
    ) -> Callable[[list[EncodedRow]], Batch]:
        """What turns training rows into a batch."""
        from transformers import DataCollatorWithPadding

        return DataCollatorWithPadding(tokenizer)

    def logits_loss(self, student: ModelOutput, teacher: ModelOutput, batch: Batch) -> Tensor:
        """Distillation loss of the head's predictions, a mean over all predictions that count.

        Args:
            student: output of the student on the batch, with `logits` (B, C).
            teacher: output of the teacher.
            batch: what both have read.
        """
        from ._losses import kl_divergence

        return kl_divergence(student["logits"], teacher["logits"])

    @staticmethod
    def n_resampling_units(outcomes: Outcomes) -> dict[str, int]:
        """See base class."""
        return {"example": len(outcomes["label"])}

    @classmethod
    def scores(
        cls, outcomes: Outcomes, bootstrap_indices: dict[str, np.ndarray]
    ) -> dict[str, np.ndarray]:
        """See base class: each metric of `predicted` against `label`, and means of comparisons."""
        from . import _metrics

        indices = bootstrap_indices["example"]
        predicted = outcomes["predicted"][indices]
        gold = outcomes["label"][indices]
        scores = {}
        for metric in cls.metrics:
            if metric.of_itself is None:
                scores[metric.name] = getattr(_metrics, metric.name)(predicted, gold)
            elif metric.name in outcomes:
                scores[metric.name] = outcomes[metric.name][indices].mean(1)
        return scores

    @cached_property
    def train(self) -> Examples:
        """Training examples: all rows of the split, or `train_examples` of them."""
        return self._examples(self.read_training_rows())

    @cached_property
    def test(self) -> Examples:
        """Test examples: all rows of the split, or `test_examples` of them."""
        return self._examples(self.read_test_rows())

    def read_training_rows(self) -> LabelledRows:
        """Rows of the training examples."""
        rows = self._one_file[0] if self.entry.is_one_file else self.read_rows("train")
        self.check_training_labels(rows.labels, rows.name)
        return self._sample(rows, "train_examples")

    def read_test_rows(self) -> LabelledRows:
        """Rows of the test examples."""
        rows = self._one_file[1] if self.entry.is_one_file else self.read_rows("test")
        return self._sample(rows, "test_examples")

    def within_training(self, held_out: float) -> Self:
        """The same task on its training examples alone: a share of them becomes the test.

        Raises:
            UserError: if there are too few examples.
        """
        train, test = hold_out(self.read_training_rows(), self.entry.data, held_out)
        task = type(self)(self.entry, TaskInputs({}))  # it can read nothing else
        task.train = self._examples(train)
        task.test = self._examples(test)
        return task

    def check_training_labels(self, labels: list[Label], name: str) -> None:
        """Refuse training rows that cannot teach the task; by default all are accepted."""

    def read_rows(self, split: str) -> LabelledRows:
        """Rows of a split and their labels."""
        data = self.entry.data
        table = read_split(data, split, self.inputs, self.read_table)
        return LabelledRows(table.name, table.rows, read_labels(table, data.label, self.read_label))

    def read_table(self, name: str, content: bytes) -> Table:
        """Rows of a file's content, with the columns that the entry names."""
        data = self.entry.data
        return read_table(data.table_options(), name, content, data.read_columns())

    @cached_property
    def _one_file(self) -> tuple[LabelledRows, LabelledRows]:
        """Training and test rows of the only file."""
        assert self.entry.test_examples is not None  # the entry is checked
        return split_file(self.read_rows("test"), self.entry.data, self.entry.test_examples)

    def _sample(self, rows: LabelledRows, key: str) -> LabelledRows:
        """As many of the rows as the entry's `key` says."""
        return rows.at(sample(len(rows.rows), getattr(self.entry, key), key, rows.name))

    def _examples(self, rows: LabelledRows) -> Examples:
        """Texts and labels of rows."""
        return to_examples(rows, self.entry.data.text)
