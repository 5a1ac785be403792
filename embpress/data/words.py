"""Segment text into words (by MeCab for Japanese), and count them, without torch or a model.

A word table has one word per line: its count, 1 if a space precedes it or else 0, and the word with
tabs and line ends escaped. The count of the empty word is the number of paragraphs.
"""

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
"""A word, and whether a space or the start of the text precedes it, on which its tokens depend."""

PARAGRAPH: Word = ("", False)
"""The empty word, which counts paragraphs: lines of the texts that are not blank."""

SEPARATORS = "\x1c\x1d\x1e\x1f"
"""Whitespace for Python's split(), but control characters within a word for tokenizers."""
SPACE = rf"[^\S{SEPARATORS}]"
NO_SPACE = rf"[\S{SEPARATORS}]"
WHITESPACE = re.compile(f"{SPACE}+")
LEADING_SPACE = re.compile(f"{SPACE}+")
RUNS = re.compile(rf"{SPACE}*{NO_SPACE}+|{SPACE}+\Z")
ESCAPES = {"\\": "\\\\", "\n": "\\n", "\t": "\\t", "\r": "\\r"}
ESCAPED = re.compile(r"[\\\n\t\r]")
UNESCAPES = {escaped: plain for plain, escaped in ESCAPES.items()}
MERGED_AT_ONCE = 64
"""Number of tables that are merged, and open, at the same time."""
SORTED_AT_ONCE = 1_000_000
"""Number of distinct words that are sorted in memory, which takes about 200 MB."""


def _between_spaces(text: str) -> list[str]:
    """Words between spaces; the tokenizer splits off punctuation itself."""
    if any(character in text for character in SEPARATORS):
        return [word for word in WHITESPACE.split(text) if word]
    return text.split()


def _morphemes(text: str) -> list[Word]:
    """Morphemes by MeCab with unidic-lite; a space is assumed before the first."""
    words = [(word.surface, bool(word.white_space)) for word in _tagger()(text)]
    return [(words[0][0], True), *words[1:]] if words else []


def _morphemes_as_in_bert(text: str) -> list[Word]:
    """Morphemes of the NFKC-normalized text, as Japanese BERT models segment it."""
    return [(word.surface, False) for word in _tagger()(unicodedata.normalize("NFKC", text))]


@cache
def _tagger() -> Any:
    """The MeCab tagger, loaded once: its dictionary takes most of a second to load."""
    import fugashi

    return fugashi.Tagger()


class Segmenter(NamedTuple):
    """A way to segment text."""

    segment: Callable[[str], Iterable[Hashable]]
    """From a text to keys, which a Counter counts faster than words."""
    word: Callable[[Any], Word]
    """From a key to its word."""


SEGMENTERS = {
    "whitespace": Segmenter(_between_spaces, lambda key: (key, True)),
    # Each word with all spaces and line ends before it, for which byte-level BPE has tokens.
    "runs": Segmenter(RUNS.findall, lambda key: (key, False)),
    "mecab": Segmenter(_morphemes, lambda key: key),
    "mecab_nfkc": Segmenter(_morphemes_as_in_bert, lambda key: key),
}


RUN_WORDS = "runs"
"""Segmenter whose words keep their spaces; `strip_runs` makes the words of `whitespace` of them."""


def count_words(texts: Iterable[str], segmenter: str = "whitespace") -> Counter[Word]:
    """Count all words of the texts, and their paragraphs as PARAGRAPH.

    Args:
        texts: the corpus.
        segmenter: a key of SEGMENTERS.

    Raises:
        UserError: if there is no such segmenter.
    """
    if segmenter not in SEGMENTERS:
        raise UserError(f"unknown segmenter {segmenter!r}; there are {', '.join(SEGMENTERS)}")
    segment, word = SEGMENTERS[segmenter]
    keys: Counter[Any] = Counter()
    n_paragraphs = 0
    for text in texts:
        keys.update(segment(text))
        n_paragraphs += len(paragraphs(text))
    counts = Counter({word(key): n for key, n in keys.items()})
    return counts + Counter({PARAGRAPH: n_paragraphs})


def paragraphs(text: str) -> list[str]:
    """Lines of a text that are not blank."""
    return [line for line in text.split("\n") if line and not line.isspace()]


def strip_runs(words: Counter[Word]) -> Counter[Word]:
    """Words of the segmenter `whitespace`, from those of `runs`."""
    stripped: Counter[Word] = Counter()
    for (run, _), n in words.items():
        match = LEADING_SPACE.match(run)
        if word := run[match.end() :] if match else run:
            stripped[word, True] += n
    return stripped


def _key(word: Word) -> str:
    """The line of a word in a table, without its count."""
    text, space = word
    return f"{int(space)}\t{ESCAPED.sub(lambda match: ESCAPES[match[0]], text)}"


HEADER = "count\tspace\tword\n"


def write_words(words: Counter[Word], path: Path) -> None:
    """Write a word table, the most frequent words first."""
    write_text(path, HEADER + "".join(_rows(sorted((-n, _key(word)) for word, n in words.items()))))


def _rows(entries: Iterable[tuple[int, str]]) -> Iterator[str]:
    """Lines of a table, from negated counts and keys."""
    return (f"{-n}\t{key}\n" for n, key in entries)


def iterate_words(path: Path) -> Iterator[tuple[Word, int]]:
    """Iterate over the words and counts of a table, in its order, in bounded memory."""
    # str.splitlines() would also split at other characters, which words may contain.
    with path.open(encoding="utf-8", newline="\n") as lines:
        next(lines)
        for line in lines:
            count, space, word = line[:-1].split("\t", 2)
            if "\\" in word:
                word = re.sub(r"\\.", lambda match: UNESCAPES[match[0]], word)
            yield (word, space == "1"), int(count)


def read_words(path: Path) -> Counter[Word]:
    """Read a word table into memory."""
    return Counter(dict(iterate_words(path)))


def write_sorted_words(words: Counter[Word], path: Path) -> None:
    """Write counts for `merge_words`: sorted lines of the key of a word, a tab and its count."""
    write_text(path, "".join(sorted(f"{_key(word)}\t{n}\n" for word, n in words.items())))


def merge_words(parts: list[Path], path: Path, scratch: Path) -> None:
    """Add up counts of `write_sorted_words`, and write them as `write_words` does.

    At most SORTED_AT_ONCE words are in memory.

    Args:
        parts: one or more files of `write_sorted_words`.
        path: the word table to write.
        scratch: an empty folder for intermediate files.
    """
    n_files = 0
    while len(parts) > MERGED_AT_ONCE:
        n_files += 1
        merged = scratch / f"merged{n_files}"
        _write_lines((f"{key}\t{-n}\n" for n, key in _sum_counts(parts[:MERGED_AT_ONCE])), merged)
        parts = [*parts[MERGED_AT_ONCE:], merged]
    entries = _sum_counts(parts)
    pieces: list[Path] = []
    while piece := sorted(islice(entries, SORTED_AT_ONCE)):
        pieces.append(scratch / f"sorted{len(pieces)}")
        _write_lines(_rows(piece), pieces[-1])
    _write_lines(chain([HEADER], _rows(heapq.merge(*map(_read_piece, pieces)))), path)


def _sum_counts(parts: list[Path]) -> Iterator[tuple[int, str]]:
    """Negated counts and keys of all words of sorted parts, each word once."""
    with ExitStack() as files:
        lines = heapq.merge(
            *(files.enter_context(part.open(encoding="utf-8", newline="\n")) for part in parts)
        )
        # All lines of a key are consecutive, as they differ in their counts only.
        for key, group in groupby((line.rpartition("\t") for line in lines), key=itemgetter(0)):
            yield -sum(int(n) for _, _, n in group), key


def _read_piece(piece: Path) -> Iterator[tuple[int, str]]:
    """Negated counts and keys of a sorted piece."""
    with piece.open(encoding="utf-8", newline="\n") as lines:
        for line in lines:
            n, _, key = line[:-1].partition("\t")
            yield -int(n), key


def _write_lines(lines: Iterable[str], path: Path) -> None:
    """Write lines to a file, completely or not at all."""
    with atomic_file(path) as file:
        file.writelines(lines)
