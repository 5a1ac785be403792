"""Choosing the answer to a question among a few, by a fine-tuned model that scores each.

Accuracy; divergence from the uncompressed model and agreement with it.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import cached_property
from typing import TYPE_CHECKING, Annotated, Any, ClassVar, Literal

from pydantic import Field

from ..study.fields import Strings
from ..study.task_data import LabelledData, Labels, OneColumn
from ..study.task_entry import LabelledTaskEntry, Metric, TrainedProtocol
from ._base import Outcomes, Progress
from ._examples import Examples, Label, LabelledRows
from ._labelled import Batch, EncodedRow, LabelledTask
from ._labels import label_position, label_positions
from ._predicted_labels import COMPARISONS, label_outcomes

if TYPE_CHECKING:
    from transformers import PreTrainedModel, PreTrainedTokenizerBase


class MultipleChoiceData(LabelledData):
    """Where the questions are, and which columns hold the answers."""

    text: OneColumn = Field(description="Column of the question.")
    choices: Annotated[Strings, Field(min_length=2)] = Field(description="Columns of the answers.")
    label: str = Field(description="Column of the right choice.")
    labels: Labels | None = Field(
        default=None,
        description="How files call the choices, in their order; by default 0, 1, ...",
    )

    def read_columns(self) -> list[str]:
        """See base class."""
        return list(dict.fromkeys([*super().read_columns(), *self.choices]))

    def required_columns(self) -> list[str]:
        """See base class."""
        return [*super().required_columns(), *self.choices]


class MultipleChoiceEntry(LabelledTaskEntry):
    """Which of the columns `data.choices` answers `data.text`."""

    known_metrics: ClassVar[tuple[Metric, ...]] = (
        Metric("accuracy", "accuracy"),
        *COMPARISONS,
    )

    kind: Literal["multiple_choice"] = Field(description="Kind of task.")
    protocol: TrainedProtocol
    data: MultipleChoiceData = Field(description="Where the rows are, and which columns are read.")
    metrics: Strings = Field(
        default=("accuracy",), description="Metrics of the tables, the main one first."
    )


class MultipleChoice(LabelledTask[MultipleChoiceEntry]):
    """Predicts the choice with the highest score."""

    entry_model = MultipleChoiceEntry
    metrics = MultipleChoiceEntry.known_metrics
    head = "multiple_choice"

    @cached_property
    def _labels(self) -> dict[str, str]:
        """How files call each choice."""
        data = self.entry.data
        return data.labels or {str(i): str(i) for i in range(len(data.choices))}

    def read_label(self, value: str) -> Label:
        """See base class."""
        return label_position(value, label_positions(self._labels), list(self._labels))

    def head_options(self) -> dict[str, Any]:
        """See base class: the head scores one choice at a time, whatever their number."""
        return {}

    def data_collator(
        self, tokenizer: PreTrainedTokenizerBase
    ) -> Callable[[list[EncodedRow]], Batch]:
        """See base class."""
        from transformers import DataCollatorForMultipleChoice

        return DataCollatorForMultipleChoice(tokenizer)

    def _examples(self, rows: LabelledRows) -> Examples:
        """See base class: a pair of the question and each choice."""
        (text,) = self.entry.data.text
        choices = self.entry.data.choices
        texts = [str(row.values[text]) for row in rows.rows for _ in choices]
        answers = [str(row.values[choice]) for row in rows.rows for choice in choices]
        return Examples(texts, rows.labels, answers, len(choices))

    def outcomes(
        self, model: PreTrainedModel, tokenizer: PreTrainedTokenizerBase, progress: Progress
    ) -> Outcomes:
        """See base class and `label_outcomes`."""
        from ._encoding import run_batches

        def score(batch: Batch) -> Any:
            # (B, T) to (B, 1, T): each pair of question and choice is on its own, so that a batch
            # has texts of similar lengths.
            return model(**{name: values[:, None] for name, values in batch.items()}).logits

        test = self.test
        length = self.entry.max_length
        encoded = tokenizer(test.texts, test.seconds, truncation=True, max_length=length)
        scores = run_batches(encoded, tokenizer, model.device, score, progress)
        return label_outcomes(scores.view(-1, test.choices), test.labels, self.reference)
