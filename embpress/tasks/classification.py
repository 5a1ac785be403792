"""Classification of texts or pairs of texts by a fine-tuned model.

Accuracy, F1, Matthews' correlation.
"""

from collections import Counter
from collections.abc import Callable
from functools import cached_property
from typing import Any

import numpy as np
from torch import Tensor
from transformers import PreTrainedModel, PreTrainedTokenizerBase

from ..errors import UserError
from ._base import Metric, Outcomes
from ._encoding import run_batches
from ._examples import Label, LabelledRows, read_one_file
from ._labelled import LabelledTask
from ._labels import label_position, spellings_of


class Classification(LabelledTask):
    """Which of `data.labels` a text, or a pair of texts, has.

    F1 is that of the second label, and means something where there are two.
    """

    metrics = (Metric("accuracy", "accuracy"), Metric("f1", "F1"), Metric("matthews", "Matthews"))
    head = "classifier"

    @cached_property
    def _from_path(self) -> tuple[LabelledRows, LabelledRows] | None:
        """Rows of a single file, whose test groups are never trained on."""
        return (
            read_one_file(self.config, self.inputs.wheels)
            if "path" in self.config["data"]
            else None
        )

    def training(self) -> LabelledRows:
        """See base class."""
        return self._from_path[0] if self._from_path else super().training()

    def testing(self) -> LabelledRows:
        """See base class."""
        return self._from_path[1] if self._from_path else super().testing()

    @cached_property
    def _spellings(self) -> dict[str, int]:
        return spellings_of(self.config["data"]["labels"])

    def read_label(self, value: str) -> Label:
        """See base class."""
        return label_position(value, self._spellings, list(self.config["data"]["labels"]))

    def check_training_labels(self, labels: list[Label], name: str) -> None:
        """Every declared label has an example.

        Raises:
            UserError: if one has none.
        """
        counts = Counter(labels)
        for i, label in enumerate(self.config["data"]["labels"]):
            if not counts[i]:
                raise UserError(
                    f"{name}: no row has the label {label!r} of `data.labels`: check them"
                )

    def head_options(self) -> dict[str, Any]:
        """See base class."""
        labels = list(self.config["data"]["labels"])
        return {"num_labels": len(labels), "id2label": dict(enumerate(labels))}

    def outcomes(
        self,
        model: PreTrainedModel,
        tokenizer: PreTrainedTokenizerBase,
        progress: Callable[[str], None],
    ) -> Outcomes:
        """See base class. Positions of labels, (n,) each."""

        def forward(batch: dict[str, Tensor]) -> Tensor:
            return model(**batch).logits

        test = self.test
        length = self.config["max_length"]
        logits = run_batches(test.texts, tokenizer, length, forward, progress, test.seconds)
        return {
            "predicted": logits.argmax(1).numpy().astype(np.int16),
            "label": np.array(test.labels, dtype=np.int16),
        }
