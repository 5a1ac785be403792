"""Cut text into words (MeCab for Japanese), and count them. Needs neither torch nor a model."""

import heapq
import re
import unicodedata
from collections import Counter
from collections.abc import Callable, Hashable, Iterable, Iterator
from functools import cache
from itertools import groupby, islice
from operator import itemgetter
from pathlib import Path
from typing import Any, NamedTuple

from .errors import UserError
from .files import whole_file, write_text

Word = tuple[str, bool]
"""A word, and whether a space (or the start of a text) stands before it: many tokenizers tell the two apart."""

SEPARATORS = "\x1c\x1d\x1e\x1f"
"""Python's split() takes these for spaces, but tokenizers take them for control characters within a word."""
SPACE, NO_SPACE = rf"[^\S{SEPARATORS}]", rf"[\S{SEPARATORS}]"
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
    # Each word with all the spaces and line ends before it, for byte-level BPE, which has tokens for them.
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


def _most_frequent_first(entry: tuple[Word, int]) -> tuple[int, Word]:
    """Order of a table."""
    return -entry[1], entry[0]


def _line(entry: tuple[Word, int]) -> str:
    """A row of a table: count, space before (0 or 1), word with tabs and line ends escaped."""
    (word, space), n = entry
    return f"{n}\t{int(space)}\t{ESCAPED.sub(lambda found: ESCAPES[found[0]], word)}\n"


HEADER = "count\tspace\tword\n"


def write_words(words: Counter[Word], path: Path) -> None:
    """Write the word-frequency table, most frequent first."""
    write_text(path, HEADER + "".join(map(_line, sorted(words.items(), key=_most_frequent_first))))


def write_sorted_words(words: Counter[Word], path: Path) -> None:
    """Write a table in the order of its words, as `merge_words` takes it."""
    write_text(path, HEADER + "".join(map(_line, sorted(words.items()))))


def iterate_words(path: Path) -> Iterator[tuple[Word, int]]:
    """Words and counts of a table, in its order, without holding it in memory."""
    # Only \n ends a line here: words may hold other characters that str.splitlines() takes for line ends.
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


def merge_words(tables: list[Path], path: Path, scratch: Path) -> None:
    """Add up tables that `write_sorted_words` wrote: the bytes that `write_words` would write of all their texts.

    Memory is bounded by SORTED_AT_ONCE words, however large the tables are.

    Args:
        tables: one or more.
        path: where the sum goes.
        scratch: an empty folder for what comes in between.
    """
    n_files = 0
    while len(tables) > MERGED_AT_ONCE:
        n_files += 1
        merged = scratch / f"merged{n_files}"
        _write_entries(_summed(tables[:MERGED_AT_ONCE]), merged)
        tables = [*tables[MERGED_AT_ONCE:], merged]
    entries = _summed(tables)
    pieces: list[Path] = []
    while piece := sorted(islice(entries, SORTED_AT_ONCE), key=_most_frequent_first):
        pieces.append(scratch / f"sorted{len(pieces)}")
        _write_entries(piece, pieces[-1])
    _write_entries(heapq.merge(*map(iterate_words, pieces), key=_most_frequent_first), path)


def _summed(tables: list[Path]) -> Iterator[tuple[Word, int]]:
    """All words of sorted tables in their order, each once."""
    for word, entries in groupby(heapq.merge(*map(iterate_words, tables)), key=itemgetter(0)):
        yield word, sum(n for _, n in entries)


def _write_entries(entries: Iterable[tuple[Word, int]], path: Path) -> None:
    """Write a table in the order that it comes in."""
    with whole_file(path) as file:
        file.write(HEADER)
        file.writelines(map(_line, entries))
