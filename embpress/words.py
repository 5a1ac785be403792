"""Cut text into words (MeCab for Japanese), and count them. Needs neither torch nor a model."""

from collections import Counter
from collections.abc import Iterable, Iterator
from functools import cache
from pathlib import Path
from typing import Any

from .errors import UserError
from .files import write_text

Word = tuple[str, bool]
"""A word, and whether a space (or the start of a text) stands before it: many tokenizers tell the two apart."""


def whitespace_words(text: str) -> Iterator[Word]:
    """Words between spaces; the tokenizer cuts off punctuation itself."""
    for word in text.split():
        yield word, True


def mecab_words(text: str) -> Iterator[Word]:
    """Morphemes by MeCab with unidic-lite, as Japanese BERTs cut them."""
    for word in _tagger()(text):
        yield word.surface, bool(word.white_space)


@cache
def _tagger() -> Any:
    """One MeCab tagger for the process: loading the dictionary takes most of a second."""
    import fugashi

    return fugashi.Tagger()


SEGMENTERS = {"whitespace": whitespace_words, "mecab": mecab_words}


def count_words(texts: Iterable[str], segmenter: str = "whitespace") -> Counter[Word]:
    """Counts of all words of the texts.

    Raises:
        UserError: for an unknown segmenter.
    """
    if segmenter not in SEGMENTERS:
        raise UserError(f"unknown segmenter {segmenter!r}; there are {', '.join(SEGMENTERS)}")
    words: Counter[Word] = Counter()
    for text in texts:
        for number, (word, spaced) in enumerate(SEGMENTERS[segmenter](text)):
            words[word, spaced or number == 0] += 1
    return words


def write_words(words: Counter[Word], path: Path) -> None:
    """Write the word-frequency table, most frequent first: count, space before (0 or 1), word."""
    ordered = sorted(words.items(), key=lambda item: (-item[1], item[0]))
    write_text(path, "count\tspace\tword\n" + "".join(f"{n}\t{int(s)}\t{w}\n" for (w, s), n in ordered))


def read_words(path: Path) -> Counter[Word]:
    """Read a table that `write_words` wrote."""
    words: Counter[Word] = Counter()
    # Only \n ends a line here: words may hold other characters that str.splitlines() takes for line ends.
    for line in path.read_text(encoding="utf-8").split("\n")[1:-1]:
        count, space, word = line.split("\t", 2)
        words[word, space == "1"] = int(count)
    return words
