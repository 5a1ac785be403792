"""Cut text into words (MeCab for Japanese), and count them. Needs neither torch nor a model."""

import heapq
import re
import unicodedata
from collections import Counter
from collections.abc import Callable, Hashable, Iterable, Iterator
from contextlib import ExitStack
from functools import cache
from itertools import chain, groupby, islice
from operator import itemgetter
from pathlib import Path
from typing import Any, NamedTuple

from ..errors import UserError
from ..files import atomic_file, write_text

Word = tuple[str, bool]
"""A word, and whether a space (or the start of a text) stands before it.

Many tokenizers tell the two apart.
"""

SEPARATORS = "\x1c\x1d\x1e\x1f"
"""Python's split() takes these for spaces.

But tokenizers take them for control characters within a word.
"""
SPACE = rf"[^\S{SEPARATORS}]"
NO_SPACE = rf"[\S{SEPARATORS}]"
WHITESPACE = re.compile(f"{SPACE}+")
RUNS = re.compile(rf"{SPACE}*{NO_SPACE}+|{SPACE}+\Z")
ESCAPES = {"\\": "\\\\", "\n": "\\n", "\t": "\\t", "\r": "\\r"}
ESCAPED = re.compile(r"[\\\n\t\r]")
UNESCAPES = {escaped: plain for plain, escaped in ESCAPES.items()}
MERGED_AT_ONCE = 64
"""Tables open at the same time."""
SORTED_AT_ONCE = 1_000_000
"""Distinct words in memory while a large table is put in order: some 200 MB."""


def _between_spaces(text: str) -> list[str]:
    """Words between spaces; the tokenizer cuts off punctuation itself."""
    if any(character in text for character in SEPARATORS):
        return [word for word in WHITESPACE.split(text) if word]
    return text.split()


def _morphemes(text: str) -> list[Word]:
    """Morphemes by MeCab with unidic-lite; the first counts as one after a space."""
    found = [(word.surface, bool(word.white_space)) for word in _tagger()(text)]
    return [(found[0][0], True), *found[1:]] if found else []


def _morphemes_as_in_bert(text: str) -> list[Word]:
    """Morphemes of the text in Unicode's NFKC, as Japanese BERTs cut it."""
    return [(word.surface, False) for word in _tagger()(unicodedata.normalize("NFKC", text))]


@cache
def _tagger() -> Any:
    """One MeCab tagger for the process: loading the dictionary takes most of a second."""
    import fugashi

    return fugashi.Tagger()


class Segmenter(NamedTuple):
    """A way to cut text: into keys that a Counter counts at full speed, and a key to its word."""

    cut: Callable[[str], Iterable[Hashable]]
    word: Callable[[Any], Word]


SEGMENTERS = {
    "whitespace": Segmenter(_between_spaces, lambda key: (key, True)),
    # Each word with all the spaces and line ends before it, for byte-level BPE, which has tokens
    # for them.
    "runs": Segmenter(RUNS.findall, lambda key: (key, False)),
    "mecab": Segmenter(_morphemes, lambda key: key),
    "mecab_nfkc": Segmenter(_morphemes_as_in_bert, lambda key: key),
}


def count_words(texts: Iterable[str], segmenter: str = "whitespace") -> Counter[Word]:
    """Counts of all words of the texts.

    Raises:
        UserError: for an unknown segmenter.
    """
    if segmenter not in SEGMENTERS:
        raise UserError(f"unknown segmenter {segmenter!r}; there are {', '.join(SEGMENTERS)}")
    cut, word = SEGMENTERS[segmenter]
    keys: Counter[Any] = Counter()
    for text in texts:
        keys.update(cut(text))
    return Counter({word(key): n for key, n in keys.items()})


def _key(word: Word) -> str:
    """A word as it stands in a table.

    1 after a space or else 0, a tab, the word with tabs and line ends escaped.
    """
    text, space = word
    return f"{int(space)}\t{ESCAPED.sub(lambda found: ESCAPES[found[0]], text)}"


HEADER = "count\tspace\tword\n"


def write_words(words: Counter[Word], path: Path) -> None:
    """Write the word-frequency table, most frequent first."""
    write_text(path, HEADER + "".join(_rows(sorted((-n, _key(word)) for word, n in words.items()))))


def _rows(entries: Iterable[tuple[int, str]]) -> Iterator[str]:
    """Lines of a table, of negated counts and keys."""
    return (f"{-n}\t{key}\n" for n, key in entries)


def iterate_words(path: Path) -> Iterator[tuple[Word, int]]:
    """Words and counts of a table, in its order, without holding it in memory."""
    # Only \n ends a line here: words may hold other characters that str.splitlines() takes for line
    # ends.
    with path.open(encoding="utf-8", newline="\n") as lines:
        next(lines)
        for line in lines:
            count, space, word = line[:-1].split("\t", 2)
            if "\\" in word:
                word = re.sub(r"\\.", lambda found: UNESCAPES[found[0]], word)
            yield (word, space == "1"), int(count)


def read_words(path: Path) -> Counter[Word]:
    """Read a whole table."""
    return Counter(dict(iterate_words(path)))


def write_sorted_words(words: Counter[Word], path: Path) -> None:
    """Write counts for `merge_words`.

    Lines of a key, a tab and its count, in the order of characters.
    """
    write_text(path, "".join(sorted(f"{_key(word)}\t{n}\n" for word, n in words.items())))


def merge_words(parts: list[Path], path: Path, scratch: Path) -> None:
    """Add up what `write_sorted_words` wrote: the bytes that `write_words` would write of all their
    texts.

    Memory is bounded by SORTED_AT_ONCE words, however large the parts are.

    Args:
        parts: one or more.
        path: where the table goes.
        scratch: an empty folder for what comes in between.
    """
    n_files = 0
    while len(parts) > MERGED_AT_ONCE:
        n_files += 1
        merged = scratch / f"merged{n_files}"
        _write_lines((f"{key}\t{-n}\n" for n, key in _summed(parts[:MERGED_AT_ONCE])), merged)
        parts = [*parts[MERGED_AT_ONCE:], merged]
    entries = _summed(parts)
    pieces: list[Path] = []
    while piece := sorted(islice(entries, SORTED_AT_ONCE)):
        pieces.append(scratch / f"sorted{len(pieces)}")
        _write_lines(_rows(piece), pieces[-1])
    _write_lines(chain([HEADER], _rows(heapq.merge(*map(_ordered, pieces)))), path)


def _summed(parts: list[Path]) -> Iterator[tuple[int, str]]:
    """Negated counts and keys of all words of sorted parts, each word once."""
    with ExitStack() as files:
        lines = heapq.merge(
            *(files.enter_context(part.open(encoding="utf-8", newline="\n")) for part in parts)
        )
        # Between two lines of a key, which differ in their counts alone, no line of another key can
        # stand.
        for key, found in groupby((line.rpartition("\t") for line in lines), key=itemgetter(0)):
            yield -sum(int(n) for _, _, n in found), key


def _ordered(piece: Path) -> Iterator[tuple[int, str]]:
    """Negated counts and keys as they stand in a piece."""
    with piece.open(encoding="utf-8", newline="\n") as lines:
        for line in lines:
            n, _, key = line[:-1].partition("\t")
            yield -int(n), key


def _write_lines(lines: Iterable[str], path: Path) -> None:
    """Write lines as they come."""
    with atomic_file(path) as file:
        file.writelines(lines)
