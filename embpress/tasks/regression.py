"""A number for a text or a pair of texts: Pearson's and Spearman's correlation with people's
judgements.

Fine-tuned, the number is the output of a head with one unit, trained by squared error. Without
fine-tuning, it is the cosine of the sentence embeddings of a pair.
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any, ClassVar, Literal

from pydantic import Field

from ..study.task_entry import LabelledTaskEntry, Metric
from ._base import Outcomes, Progress, TaskInputs
from ._examples import Label
from ._labelled import Batch, LabelledTask

if TYPE_CHECKING:
    from torch import Tensor
    from transformers import PreTrainedModel, PreTrainedTokenizerBase
    from transformers.modeling_outputs import ModelOutput


class RegressionEntry(LabelledTaskEntry):
    """A number for a text or a pair of texts; how similar two texts are, say."""

    known_metrics: ClassVar[tuple[Metric, ...]] = (
        Metric("pearson", "Pearson"),
        Metric("spearman", "Spearman"),
    )

    kind: Literal["regression"] = Field(description="Kind of task.")
    prefix: str = Field(
        default="", description="zero_shot: text that the model expects before each text."
    )
    test_examples: int | None = Field(
        default=None, ge=2, description="Test rows, drawn by a fixed seed; all by default."
    )


class Regression(LabelledTask[RegressionEntry]):
    """Predicts the output of the head, or the cosine of a pair without fine-tuning."""

    entry_model = RegressionEntry
    metrics = RegressionEntry.known_metrics
    head = "classifier"

    def __init__(self, entry: RegressionEntry, inputs: TaskInputs) -> None:
        super().__init__(entry, inputs)
        if entry.protocol == "zero_shot":
            self.head = "encoder"

    def read_label(self, value: str) -> Label:
        """See base class."""
        try:
            number = float(value)
        except ValueError:
            raise ValueError("not a number") from None
        if not math.isfinite(number):
            raise ValueError("not a finite number")
        return number

    def head_options(self) -> dict[str, Any]:
        """See base class."""
        return {"num_labels": 1, "problem_type": "regression"}

    def logits_loss(self, student: ModelOutput, teacher: ModelOutput, batch: Batch) -> Tensor:
        """See base class: the squared error of the numbers."""
        from ._losses import squared_error

        return squared_error(student["logits"], teacher["logits"])

    def outcomes(
        self, model: PreTrainedModel, tokenizer: PreTrainedTokenizerBase, progress: Progress
    ) -> Outcomes:
        """See base class. Predicted and true numbers, (n,) each."""
        import numpy as np

        from ._encoding import predict_logits

        if self.head == "encoder":
            numbers = self._cosines(model, tokenizer, progress)
        else:
            length = self.entry.max_length
            numbers = predict_logits(model, tokenizer, self.test, length, progress)[:, 0]
        # Rounded, so that equal inputs tie: their outputs differ in the last bits by their place in
        # a batch.
        predicted = numbers.numpy().astype(np.float64).round(6)
        return {"predicted": predicted, "label": np.array(self.test.labels, dtype=np.float64)}

    def _cosines(
        self, model: PreTrainedModel, tokenizer: PreTrainedTokenizerBase, progress: Progress
    ) -> Tensor:
        """Cosines of both texts' embeddings, (n,). Each distinct text is encoded once."""
        from ._encoding import sentence_embeddings

        assert self.test.seconds is not None  # the entry is checked
        sides = [
            [self.entry.prefix + text for text in side]
            for side in (self.test.texts, self.test.seconds)
        ]
        position = {text: i for i, text in enumerate(dict.fromkeys(sides[0] + sides[1]))}
        vectors = sentence_embeddings(
            model, tokenizer, list(position), progress, self.entry.max_length
        )
        first, second = (vectors[[position[text] for text in side]].double() for side in sides)
        return (first * second).sum(1)
