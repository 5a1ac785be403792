"""Classification of texts or pairs of texts by a fine-tuned model.

Accuracy, F1, Matthews' correlation; divergence from the uncompressed model and agreement with it.
"""

from __future__ import annotations

from collections import Counter
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar, Literal

from pydantic import Field

from ..errors import UserError
from ..study.fields import Strings
from ..study.task_data import LabelledData, Labels
from ..study.task_entry import LabelledTaskEntry, Metric, TrainedProtocol
from ..study.validation_errors import refuse
from ._base import Outcomes, Progress
from ._examples import Label, LabelledRows
from ._labelled import LabelledTask
from ._labels import label_position, label_positions
from ._predicted_labels import COMPARISONS, label_outcomes

if TYPE_CHECKING:
    from transformers import PreTrainedModel, PreTrainedTokenizerBase


class ClassificationData(LabelledData):
    """Where the rows are, and which labels they may have."""

    path: str | None = Field(
        default=None,
        description="One file for training and test rows that share no `group` and have equally "
        "many rows of each label; instead of `train` and `test`.",
    )
    labels: Labels = Field(
        description="Names of the labels, or how files write each. Rows of `path` with other "
        "labels are left out; elsewhere they are an error."
    )


class ClassificationEntry(LabelledTaskEntry):
    """Which of `data.labels` a text, or a pair of texts, has."""

    known_metrics: ClassVar[tuple[Metric, ...]] = (
        Metric("accuracy", "accuracy"),
        Metric("f1", "F1"),
        Metric("matthews", "Matthews"),
        *COMPARISONS,
    )
    measures_sensitivity: ClassVar[bool] = True

    kind: Literal["classification"] = Field(description="Kind of task.")
    protocol: TrainedProtocol
    data: ClassificationData = Field(description="Where the rows are, and which columns are read.")
    metrics: Strings = Field(
        default=("accuracy",),
        description="Metrics of the tables, the main one first. f1 is that of the second of two "
        "labels.",
    )

    @property
    def label_names(self) -> tuple[str, ...]:
        """See base class."""
        return tuple(self.data.labels)

    def local_files(self) -> dict[str, Path]:
        """See base class."""
        if self.data.path is None:
            return super().local_files()
        has_wheel = self.data.package is not None
        return {} if has_wheel or not self.is_trained else {"path": Path(self.data.path)}

    def check_splits(self) -> None:
        """See base class; `path` stands for both splits."""
        data = self.data
        if "f1" in self.metrics and len(data.labels) != 2:
            raise refuse(f"f1 needs two labels; there are {len(data.labels)}", "metrics")
        if data.path is None:
            super().check_splits()
            return
        for key in ("train", "test", "hub"):
            if getattr(data, key) is not None:
                raise refuse(f"`path` is one file for both splits: remove it or `{key}`", "data")
        for key in ("group", "format"):
            if getattr(data, key) is None:
                raise refuse(f"{key!r} is missing, which `path` needs", "data")
        for key in ("train_examples", "test_examples"):
            if getattr(self, key) is None:
                raise refuse(f"{key!r} is missing, which `data.path` needs")


class Classification(LabelledTask[ClassificationEntry]):
    """Predicts labels by the class with the highest logit."""

    entry_model = ClassificationEntry
    metrics = ClassificationEntry.known_metrics
    head = "classifier"

    @cached_property
    def _splits_of_path(self) -> tuple[LabelledRows, LabelledRows] | None:
        """Rows of the single file, whose test groups are never trained on."""
        data = self.entry.data
        if data.path is None:
            return None
        from ..data.rows import read_rows
        from ._balanced import balanced_split

        options = data.table_options() | {"path": data.path}
        rows = read_rows(options, self.inputs.wheels, data.read_columns())
        return balanced_split(rows, self.entry, self._positions)

    def read_training_rows(self) -> LabelledRows:
        """See base class."""
        return self._splits_of_path[0] if self._splits_of_path else super().read_training_rows()

    def read_test_rows(self) -> LabelledRows:
        """See base class."""
        return self._splits_of_path[1] if self._splits_of_path else super().read_test_rows()

    @cached_property
    def _positions(self) -> dict[str, int]:
        """Position of each label by how files may write it."""
        return label_positions(self.entry.data.labels)

    def read_label(self, value: str) -> Label:
        """See base class."""
        return label_position(value, self._positions, list(self.entry.data.labels))

    def check_training_labels(self, labels: list[Label], name: str) -> None:
        """Check that every declared label has an example.

        Raises:
            UserError: if one has none.
        """
        counts = Counter(labels)
        for i, label in enumerate(self.entry.data.labels):
            if not counts[i]:
                raise UserError(
                    f"{name}: no row has the label {label!r} of `data.labels`: check them"
                )

    def head_options(self) -> dict[str, Any]:
        """See base class."""
        labels = list(self.entry.data.labels)
        return {"num_labels": len(labels), "id2label": dict(enumerate(labels))}

    def outcomes(
        self, model: PreTrainedModel, tokenizer: PreTrainedTokenizerBase, progress: Progress
    ) -> Outcomes:
        """See base class and `label_outcomes`."""
        from ._encoding import predict_logits

        logits = predict_logits(model, tokenizer, self.test, self.entry.max_length, progress)
        return label_outcomes(logits, self.test.labels, self.reference)
