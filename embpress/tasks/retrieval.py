"""Finding the translation of a sentence among all sentences of the other language.

Without fine-tuning: accuracy at 1.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, ClassVar, Literal

from pydantic import Field

from ..errors import UserError
from ..study.fields import Frozen, Strings
from ..study.task_entry import Metric, TaskEntry, ZeroShot
from ._base import Outcomes, Progress, Task, TaskInputs

if TYPE_CHECKING:
    import numpy as np
    from transformers import PreTrainedModel, PreTrainedTokenizerBase

SAMPLE_SEED = 0


class RetrievalData(Frozen):
    """Where the translated messages are."""

    packages: Strings = Field(description="Packages whose wheels hold translations.")
    language: Literal["ja"] = Field(description="Language that English is translated to.")
    min_words: int = Field(ge=1, description="Fewest words of an English side.")


class RetrievalEntry(TaskEntry):
    """English and Japanese sides of human-translated messages, in both directions."""

    known_metrics: ClassVar[tuple[Metric, ...]] = (
        Metric("accuracy", "accuracy at 1"),
        Metric("accuracy_ja_en", "ja to en"),
        Metric("accuracy_en_ja", "en to ja"),
        Metric("vector_cosine", "cosine to uncompressed vectors", of_itself=1.0),
    )

    kind: Literal["retrieval"] = Field(description="Kind of task.")
    protocol: ZeroShot
    data: RetrievalData = Field(description="Where the translated messages are.")
    prefix: str = Field(description="Text that the model expects before each sentence.")
    pairs: int = Field(ge=2, description="Pairs of sentences, drawn by a fixed seed.")

    @property
    def packages(self) -> tuple[str, ...]:
        """See base class."""
        return self.data.packages


class Retrieval(Task[RetrievalEntry]):
    """Takes the nearest neighbour by cosine for the translation."""

    entry_model = RetrievalEntry
    metrics = RetrievalEntry.known_metrics
    head = "encoder"

    def __init__(self, entry: RetrievalEntry, inputs: TaskInputs) -> None:
        import numpy as np

        from ..data.corpora import JAPANESE, translations

        super().__init__(entry, inputs)
        data = entry.data
        messages = translations([inputs.wheels[p] for p in data.packages], data.language)
        # Of two messages with the same translation one is kept: they cannot be told apart.
        by_translation: dict[str, str] = {}
        for source, translation in messages.items():
            is_long = len(re.findall("[A-Za-z]+", source)) >= data.min_words
            if is_long and JAPANESE.search(translation):
                by_translation.setdefault(translation, source)
        pairs = sorted((source, translation) for translation, source in by_translation.items())
        if len(pairs) < entry.pairs:
            raise UserError(
                f"there are {len(pairs)} translated pairs, fewer than {entry.pairs}: lower `pairs`"
            )
        chosen = np.random.default_rng(SAMPLE_SEED).permutation(len(pairs))[: entry.pairs]
        self.pairs = [pairs[i] for i in sorted(chosen)]

    def outcomes(
        self, model: PreTrainedModel, tokenizer: PreTrainedTokenizerBase, progress: Progress
    ) -> Outcomes:
        """See base class. 1 where the nearest neighbour by cosine is the translation; and the
        sentences beside the uncompressed model's, see `compare_vectors`.
        """
        import numpy as np

        from ._encoding import sentence_embeddings
        from ._vectors import compare_vectors

        texts = [self.entry.prefix + text for side in zip(*self.pairs) for text in side]
        vectors = sentence_embeddings(model, tokenizer, texts, progress)
        english, japanese = vectors.chunk(2)
        similarity = (english @ japanese.T).numpy()
        right = np.arange(len(self.pairs))
        return {
            "en_ja": (similarity.argmax(1) == right).astype(np.uint8),
            "ja_en": (similarity.argmax(0) == right).astype(np.uint8),
            **compare_vectors(vectors, self.reference),
        }

    @staticmethod
    def n_resampling_units(outcomes: Outcomes) -> dict[str, int]:
        """See base class."""
        return {"pair": len(outcomes["en_ja"])}

    @staticmethod
    def scores(
        outcomes: Outcomes, bootstrap_indices: dict[str, np.ndarray]
    ) -> dict[str, np.ndarray]:
        """See base class."""
        indices = bootstrap_indices["pair"]
        ja_en = outcomes["ja_en"][indices].mean(1)
        en_ja = outcomes["en_ja"][indices].mean(1)
        scores = {
            "accuracy": (ja_en + en_ja) / 2,
            "accuracy_ja_en": ja_en,
            "accuracy_en_ja": en_ja,
        }
        if "cosines" in outcomes:  # of the English sides, then of the Japanese ones
            of_pairs = outcomes["cosines"].reshape(2, -1).mean(0)
            scores["vector_cosine"] = of_pairs[indices].mean(1)
        return scores
