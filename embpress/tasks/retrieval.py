"""Finding the translation of a sentence among all sentences of the other language.

Without fine-tuning: accuracy at 1.
"""

import re
from collections.abc import Callable
from typing import Any

import numpy as np
from transformers import PreTrainedModel, PreTrainedTokenizerBase

from ..data.corpora import JAPANESE, translations
from ..errors import UserError
from ._base import Inputs, Metric, Outcomes, Task
from ._encoding import sentence_embeddings

SAMPLE_SEED = 0


class Retrieval(Task):
    """English and Japanese sides of human-translated messages, in both directions."""

    metrics = (
        Metric("accuracy", "accuracy at 1"),
        Metric("accuracy_ja_en", "ja to en"),
        Metric("accuracy_en_ja", "en to ja"),
    )
    head = "encoder"

    def __init__(self, config: dict[str, Any], inputs: Inputs) -> None:
        super().__init__(config, inputs)
        data = config["data"]
        found = translations([inputs.wheels[p] for p in data["packages"]], data["language"])
        by_translation: dict[
            str, str
        ] = {}  # two messages with one translation cannot be told apart
        for source, translation in found.items():
            if (
                JAPANESE.search(translation)
                and len(re.findall("[A-Za-z]+", source)) >= data["min_words"]
            ):
                by_translation.setdefault(translation, source)
        pairs = sorted((s, t) for t, s in by_translation.items())
        if len(pairs) < config["pairs"]:
            raise UserError(
                f"there are {len(pairs)} translated pairs, but {config['pairs']} are asked for: lower `pairs`"
            )
        chosen = np.random.default_rng(SAMPLE_SEED).permutation(len(pairs))[: config["pairs"]]
        self.pairs = [pairs[i] for i in sorted(chosen)]

    def outcomes(
        self,
        model: PreTrainedModel,
        tokenizer: PreTrainedTokenizerBase,
        progress: Callable[[str], None],
    ) -> Outcomes:
        """See base class. 1 where the nearest neighbour by cosine is the translation."""
        texts = [self.config["prefix"] + text for side in zip(*self.pairs) for text in side]
        vectors = sentence_embeddings(model, tokenizer, texts, progress)
        english, japanese = vectors.chunk(2)
        similarity = (english @ japanese.T).numpy()
        right = np.arange(len(self.pairs))
        return {
            "en_ja": (similarity.argmax(1) == right).astype(np.uint8),
            "ja_en": (similarity.argmax(0) == right).astype(np.uint8),
        }

    @staticmethod
    def sizes(outcomes: Outcomes) -> dict[str, int]:
        """See base class."""
        return {"pair": len(outcomes["en_ja"])}

    @staticmethod
    def scores(outcomes: Outcomes, draws: dict[str, np.ndarray]) -> dict[str, np.ndarray]:
        """See base class."""
        ways = {
            f"accuracy_{way}": outcomes[way][draws["pair"]].mean(1) for way in ("ja_en", "en_ja")
        }
        return {"accuracy": (ways["accuracy_ja_en"] + ways["accuracy_en_ja"]) / 2, **ways}
