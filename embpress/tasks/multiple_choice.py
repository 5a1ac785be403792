"""Choosing the answer to a question among a few, by a fine-tuned model that scores each.

Accuracy.
"""

from collections.abc import Callable
from functools import cached_property
from typing import Any

import numpy as np
from torch import Tensor
from transformers import PreTrainedModel, PreTrainedTokenizerBase

from ._base import Metric, Outcomes
from ._encoding import run_batches
from ._examples import Label
from ._labelled import LabelledTask
from ._labels import label_position, spellings_of


class MultipleChoice(LabelledTask):
    """Which of the columns `data.choices` answers `data.text`.

    Labels count them from 0, or are called as `data.labels`.
    """

    metrics = (Metric("accuracy", "accuracy"),)
    head = "multiple_choice"

    @cached_property
    def _labels(self) -> list[str] | dict[str, str]:
        data = self.config["data"]
        return data.get("labels", [str(i) for i in range(len(data["choices"]))])

    def read_label(self, value: str) -> Label:
        """See base class."""
        return label_position(value, spellings_of(self._labels), list(self._labels))

    def head_options(self) -> dict[str, Any]:
        """See base class: the head scores one choice at a time, whatever their number."""
        return {}

    def outcomes(
        self,
        model: PreTrainedModel,
        tokenizer: PreTrainedTokenizerBase,
        progress: Callable[[str], None],
    ) -> Outcomes:
        """See base class. 1 where the true choice has the highest score, (n,)."""

        def forward(batch: dict[str, Tensor]) -> Tensor:
            # (B, T) to (B, 1, T): each pair of question and choice goes by itself, so that batches
            # are of like lengths
            return model(**{name: values[:, None] for name, values in batch.items()}).logits

        test = self.test
        length = self.config["max_length"]
        scores = run_batches(test.texts, tokenizer, length, forward, progress, test.seconds)
        chosen = scores.view(-1, test.choices).argmax(1).numpy()
        return {
            "predicted": chosen.astype(np.int16),
            "label": np.array(test.labels, dtype=np.int16),
        }
