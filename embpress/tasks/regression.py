"""A number for a text or a pair of texts: Pearson's and Spearman's correlation with people's
judgements.

Fine-tuned, the number is the output of a head with one unit, trained by squared error. Without
fine-tuning, it is the cosine of the sentence embeddings of a pair.
"""

import math
from collections.abc import Callable
from typing import Any

import numpy as np
from torch import Tensor
from transformers import PreTrainedModel, PreTrainedTokenizerBase

from ._base import Inputs, Metric, Outcomes
from ._encoding import run_batches, sentence_embeddings
from ._examples import Label
from ._labelled import LabelledTask


class Regression(LabelledTask):
    """How similar two texts are, say."""

    metrics = (Metric("pearson", "Pearson"), Metric("spearman", "Spearman"))
    head = "classifier"

    def __init__(self, config: dict[str, Any], inputs: Inputs) -> None:
        super().__init__(config, inputs)
        if config["protocol"] == "zero_shot":
            self.head = "encoder"  # type: ignore[misc]

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

    def outcomes(
        self,
        model: PreTrainedModel,
        tokenizer: PreTrainedTokenizerBase,
        progress: Callable[[str], None],
    ) -> Outcomes:
        """See base class. Predicted and true numbers, (n,) each."""
        found = self._cosines if self.head == "encoder" else self._outputs
        # Rounded, so that equal inputs tie: their outputs differ in the last bits by their place in
        # a batch.
        predicted = found(model, tokenizer, progress).astype(np.float64).round(6)
        return {"predicted": predicted, "label": np.array(self.test.labels, dtype=np.float64)}

    def _outputs(
        self,
        model: PreTrainedModel,
        tokenizer: PreTrainedTokenizerBase,
        progress: Callable[[str], None],
    ) -> np.ndarray:
        """Outputs of the fine-tuned head, (n,)."""

        def forward(batch: dict[str, Tensor]) -> Tensor:
            return model(**batch).logits

        test = self.test
        length = self.config["max_length"]
        return run_batches(test.texts, tokenizer, length, forward, progress, test.seconds)[
            :, 0
        ].numpy()

    def _cosines(
        self,
        model: PreTrainedModel,
        tokenizer: PreTrainedTokenizerBase,
        progress: Callable[[str], None],
    ) -> np.ndarray:
        """Cosines of both texts' embeddings, (n,). Each distinct text is encoded once."""
        assert self.test.seconds is not None  # the config is checked before any job
        sides = [
            [self.config.get("prefix", "") + text for text in side]
            for side in (self.test.texts, self.test.seconds)
        ]
        place = {text: i for i, text in enumerate(dict.fromkeys(sides[0] + sides[1]))}
        vectors = sentence_embeddings(
            model, tokenizer, list(place), progress, self.config["max_length"]
        )
        first, second = (vectors[[place[text] for text in side]].double() for side in sides)
        return (first * second).sum(1).numpy()
