"""Count a model's tokens in a corpus, special tokens included, with words that suit its tokenizer.

How a corpus is cut into words follows from the corpus and the tokenizer: on a sample of the corpus,
the counts of words are compared with those of whole texts, and the best words are used. If no words
are right, whole texts are counted, which takes longer.

An input of a model is a paragraph of the corpus, or as much of it as the model reads at once. The
counts of special tokens are the number of inputs times the number that the tokenizer adds to each.
"""

import math
from collections import Counter
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from itertools import chain
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

from torch import Tensor

from ..errors import UserError
from .shards import iterate_counted, list_shards
from .texts import read_texts
from .token_counts import (
    count_table,
    count_texts,
    count_tokens,
    encode_texts,
    is_fast,
    sum_by_id,
    tokenizes_words,
)
from .words import (
    PARAGRAPH,
    RUN_WORDS,
    Word,
    count_words,
    iterate_words,
    paragraphs,
    strip_runs,
)

if TYPE_CHECKING:  # transformers takes seconds to import
    from transformers import PreTrainedTokenizerBase

MAX_DIFFERENCE = 0.005
"""Largest share of a sample's token counts by which words may differ from whole texts."""
SAMPLE_CHARACTERS = 500_000
"""Approximate size of the sample, which takes about a second for each segmenter."""
TEXT_CHARACTERS = 20_000
"""A longer text is cut in the sample."""
WHOLE_TEXTS = "texts"
"""Stands for a segmenter where whole texts are counted."""
VIEWS: dict[str, dict[str, Callable[[Counter[Word]], Counter[Word]]]] = {
    RUN_WORDS: {"whitespace": strip_runs, RUN_WORDS: Counter}
}
"""By segmenter of a word table: segmenters whose words it gives, the fastest first."""


@dataclass(frozen=True)
class CountedCorpus:
    """Files of a corpus whose words are counted."""

    name: str
    words: Path
    """The word table."""
    texts: Path
    """All counted texts, or an excerpt of them if the corpus is streamed from `folder`."""
    segmenter: str | None = None
    """How the study says that words are cut; None if it follows from the tokenizer."""
    folder: Path | None = None
    column: str = "text"
    held_out: float = 0.0
    """Folder, column and held-out share of a streamed corpus."""

    def iterate_texts(self) -> Iterator[str]:
        """Iterate over all counted texts."""
        if self.folder is None:
            return iter(read_texts(self.texts))
        shards = list_shards(self.folder, self.column)
        return chain.from_iterable(iterate_counted(shard, self.held_out) for shard in shards)


class Segmentation(NamedTuple):
    """How a corpus is cut for a tokenizer."""

    segmenter: str
    """A key of SEGMENTERS, or WHOLE_TEXTS."""
    difference: float
    """Share of the token counts of a sample that differ from those of whole texts, 0 to 1."""


class TokenCounts(NamedTuple):
    """Counts of a model's tokens in a corpus."""

    counts: Tensor
    """int64 (V,), special tokens included."""
    segmentation: Segmentation
    n_inputs: int
    """Number of inputs of the model that the corpus makes."""


def count_corpus_tokens(
    corpus: CountedCorpus,
    tokenizer: "PreTrainedTokenizerBase",
    n_rows: int,
    input_length: int | None = None,
) -> TokenCounts:
    """Count a model's tokens in a corpus.

    Args:
        corpus: the corpus, its words counted.
        tokenizer: the model's.
        n_rows: number of rows V of the model's embedding.
        input_length: number of tokens that the model reads at once; None for no limit.

    Raises:
        UserError: if the study says how words are cut, and that is wrong for the tokenizer, or the
            tokenizer has more tokens than the model has rows.
    """
    sample = sample_texts(read_texts(corpus.texts))
    segmentation = choose_segmentation(sample, tokenizer, corpus.name, corpus.segmenter)
    if segmentation.segmenter == WHOLE_TEXTS:
        counts = count_texts(corpus.iterate_texts(), tokenizer, n_rows)
    else:
        table = corpus.segmenter or RUN_WORDS
        view = VIEWS.get(table, {}).get(segmentation.segmenter, Counter)
        counts = count_table(corpus.words, tokenizer, n_rows, view)
    n_paragraphs = next((n for word, n in iterate_words(corpus.words) if word == PARAGRAPH), 0)
    added = special_tokens_per_input(tokenizer)
    room = input_length - added.total() if input_length else 0
    n_inputs = _count_inputs(n_paragraphs, int(counts.sum()), sample, tokenizer, room)
    counts += sum_by_id([(list(added.elements()), n_inputs)], tokenizer, n_rows)
    return TokenCounts(counts, segmentation, n_inputs)


def sample_texts(texts: Iterable[str]) -> list[str]:
    """Texts of about SAMPLE_CHARACTERS in all, spread evenly over a corpus."""
    cut = [text[:TEXT_CHARACTERS] for text in texts]
    n_steps = math.ceil(sum(map(len, cut)) / SAMPLE_CHARACTERS)
    return cut[:: max(1, n_steps)]


def choose_segmentation(
    sample: list[str],
    tokenizer: "PreTrainedTokenizerBase",
    corpus: str,
    segmenter: str | None = None,
) -> Segmentation:
    """Choose how to cut a corpus for a tokenizer, or check the choice of the study.

    Args:
        sample: texts of the corpus.
        tokenizer: the model's.
        corpus: name of the corpus, for errors.
        segmenter: what the study says; None to choose.

    Raises:
        UserError: if more than MAX_DIFFERENCE of the counts differ with the segmenter of the study.
    """
    if segmenter is not None:
        candidates = [segmenter] if tokenizes_words(tokenizer) else []
    else:
        candidates = list(VIEWS[RUN_WORDS]) if is_fast(tokenizer) else []
    whole = _count_sample(sample, None, tokenizer)
    total = max(1, int(whole.sum()))
    measured = [
        Segmentation(
            name, float((_count_sample(sample, name, tokenizer) - whole).abs().sum() / total)
        )
        for name in candidates
    ]
    best = min(measured, key=lambda one: one.difference, default=Segmentation(WHOLE_TEXTS, 0.0))
    if best.difference <= MAX_DIFFERENCE:
        return best
    if segmenter is not None:
        raise UserError(
            f"corpora.{corpus}: with `segmenter: {segmenter}`, {best.difference:.1%} of the token "
            "counts differ from the tokenizer's own on whole texts, and at most "
            f"{MAX_DIFFERENCE:.1%} may: remove `segmenter`, and it follows from the tokenizer"
        )
    return Segmentation(WHOLE_TEXTS, 0.0)


def _count_sample(
    sample: list[str], segmenter: str | None, tokenizer: "PreTrainedTokenizerBase"
) -> Tensor:
    """Token counts of a sample by words, or of whole texts, by id."""
    n_rows = max(tokenizer.get_vocab().values()) + 1
    if segmenter is None:
        return count_texts(sample, tokenizer, n_rows)
    return count_tokens(count_words(sample, segmenter), tokenizer, n_rows)


def special_tokens_per_input(tokenizer: "PreTrainedTokenizerBase") -> Counter[int]:
    """Number of times that a tokenizer adds each special token to an input, by id.

    The tokenizer itself is asked: [CLS] and [SEP] once for BERT's, none for GPT-2's. Padding and
    masks are not added to a text.
    """
    plain, with_special = (
        Counter(tokenizer("a", add_special_tokens=special)["input_ids"])
        for special in (False, True)
    )
    return with_special - plain


def with_special_tokens(
    counts: Tensor, tokenizer: "PreTrainedTokenizerBase", input_length: int | None
) -> Tensor:
    """Add special tokens to counts of running text that has none, such as a user's: int64 (V,).

    The number of inputs is unknown. It is at least that of inputs which are all full.

    Args:
        counts: (V,) token counts.
        tokenizer: the model's.
        input_length: number of tokens that the model reads at once; None for no limit.
    """
    counts = counts.clone()
    added = special_tokens_per_input(tokenizer)
    room = input_length - added.total() if input_length else 0
    n_tokens = int(counts.sum())
    n_inputs = math.ceil(n_tokens / room) if room > 0 else min(1, n_tokens)
    for i, times in added.items():
        if i < len(counts) and counts[i] == 0:
            counts[i] = times * n_inputs
    return counts


def _count_inputs(
    n_paragraphs: int,
    n_tokens: int,
    sample: list[str],
    tokenizer: "PreTrainedTokenizerBase",
    room: int,
) -> int:
    """Number of inputs that the paragraphs of a corpus make.

    The number of paragraphs is exact; how many inputs one makes on average is that of a sample.

    Args:
        n_paragraphs: number of paragraphs of the corpus.
        n_tokens: number of tokens of the corpus.
        sample: texts of the corpus.
        tokenizer: the model's.
        room: number of tokens of an input, without special ones; at most 0 for no limit.
    """
    if room <= 0:
        return n_paragraphs
    lengths = [len(ids) for text in sample for ids in encode_texts(paragraphs(text), tokenizer)]
    n_inputs = sum(max(1, math.ceil(length / room)) for length in lengths)
    estimate = round(n_paragraphs * n_inputs / max(1, len(lengths)))
    return max(estimate, math.ceil(n_tokens / room))
