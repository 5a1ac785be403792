"""Which characters the tokens of a tokenizer in Python cover, which does not tell.

Such as BertJapaneseTokenizer.
"""

import unicodedata
from collections.abc import Iterable
from typing import Any

import numpy as np

MARKS = ("##", "▁")
"""What pieces begin with that is not of the text.

WordPiece's within a word, SentencePiece's at a word's start.
"""


def offsets_of(tokens: list[str], text: str, unknown: str) -> np.ndarray:
    """First character and character after the last of each token in its text, (n, 2).

    Tokens are looked for one after another in the text as such tokenizers read it: NFKC, lower
    case. One that stands for what the vocabulary lacks takes all up to the next token, but for
    white space.

    Args:
        tokens: of the whole text, in its order.
        text: as it was given to the tokenizer.
        unknown: the token that stands for words that the vocabulary lacks.
    """
    read, origin = _as_read(text)
    found = np.zeros((len(tokens), 2), dtype=np.int32)
    place = 0
    waiting: list[int] = []
    for i, token in enumerate(tokens):
        piece = "" if token == unknown else _without_mark(token).lower()
        start = -1 if token == unknown else read.find(piece, place)
        if start < 0:  # unknown, or written otherwise than in the text
            waiting.append(i)
            continue
        _fill(found, waiting, read, place, start)
        waiting = []
        place = start + len(piece)
        found[i] = start, place
    _fill(found, waiting, read, place, len(read))
    return origin[found]


def _fill(found: np.ndarray, waiting: list[int], text: str, start: int, end: int) -> None:
    """Give a part of a text to the tokens for it.

    A word each, the last the rest; the last word again if too few.
    """
    words = list(_words(text, start, end)) or [(start, start)]
    for i, token in enumerate(waiting):
        found[token] = (
            words[min(i, len(words) - 1)][0],
            words[-1 if token == waiting[-1] else min(i, len(words) - 1)][1],
        )


def _without_mark(token: str) -> str:
    """A piece without what marks its place in a word."""
    return next((token[len(mark) :] for mark in MARKS if token.startswith(mark)), token)


def _words(text: str, start: int, end: int) -> Iterable[tuple[int, int]]:
    """Ends of the stretches without white space in a part of a text."""
    place = start
    for word in text[start:end].split():
        place = text.index(word, place)
        yield place, place + len(word)
        place += len(word)


def _as_read(text: str) -> tuple[str, Any]:
    """A text in NFKC and lower case, and for each of its places the character of the original.

    (length + 1,).
    """
    parts: list[str] = []
    starts: list[int] = []
    for i, character in enumerate(text):
        # Half-width kana and their marks, and combining marks, become one character with what is
        # before them.
        joined = parts and unicodedata.normalize("NFKC", text[starts[-1] : i + 1]) != parts[
            -1
        ] + unicodedata.normalize("NFKC", character)
        if joined:
            parts[-1] = unicodedata.normalize("NFKC", text[starts[-1] : i + 1])
        else:
            parts.append(unicodedata.normalize("NFKC", character))
            starts.append(i)
    lowered = [part.lower() for part in parts]
    origin = [start for start, part in zip(starts, lowered) for _ in part]
    return "".join(lowered), np.array([*origin, len(text)])
