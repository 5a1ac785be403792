"""Character offsets of tokens, for tokenizers in Python that do not return them.

Such as transformers' BertJapaneseTokenizer.
"""

import unicodedata
from collections.abc import Iterable

import numpy as np

MARKS = ("##", "▁")
"""Prefixes of tokens that are not part of the text: WordPiece's within a word, SentencePiece's at
the start of a word."""


def offsets_of(tokens: list[str], text: str, unknown: str) -> np.ndarray:
    """First character and character after the last of each token in its text, (n, 2).

    Tokens are searched for one after another in the normalized text: NFKC, lower case. An unknown
    token covers everything up to the next token, except white space at its ends.

    Args:
        tokens: tokens of the whole text, in order.
        text: the text before normalization.
        unknown: the unknown token.
    """
    normalized, origin = _normalize(text)
    offsets = np.zeros((len(tokens), 2), dtype=np.int32)
    place = 0
    waiting: list[int] = []
    for i, token in enumerate(tokens):
        piece = "" if token == unknown else _without_mark(token).lower()
        start = -1 if token == unknown else normalized.find(piece, place)
        if start < 0:  # unknown, or normalized in another way than here
            waiting.append(i)
            continue
        _fill(offsets, waiting, normalized, place, start)
        waiting = []
        place = start + len(piece)
        offsets[i] = start, place
    _fill(offsets, waiting, normalized, place, len(normalized))
    return origin[offsets]


def _fill(offsets: np.ndarray, waiting: list[int], text: str, start: int, end: int) -> None:
    """Set the offsets of unknown tokens that cover a part of a text between them.

    Each covers a word and the last one all words that are left. If there are fewer words than
    tokens, the last tokens share a word.
    """
    words = list(_words(text, start, end)) or [(start, start)]
    for i, token in enumerate(waiting):
        own = min(i, len(words) - 1)
        last = len(words) - 1 if token == waiting[-1] else own
        offsets[token] = words[own][0], words[last][1]


def _without_mark(token: str) -> str:
    """A token without its prefix."""
    return next((token[len(mark) :] for mark in MARKS if token.startswith(mark)), token)


def _words(text: str, start: int, end: int) -> Iterable[tuple[int, int]]:
    """First character and character after the last of each word in a part of a text."""
    place = start
    for word in text[start:end].split():
        place = text.index(word, place)
        yield place, place + len(word)
        place += len(word)


def _normalize(text: str) -> tuple[str, np.ndarray]:
    """A text in NFKC and lower case, and for each of its characters the position of the original
    one, (length + 1,).
    """
    parts: list[str] = []
    starts: list[int] = []
    for i, character in enumerate(text):
        # Half-width kana and their marks, and combining marks, become one character with the one
        # before them.
        alone = unicodedata.normalize("NFKC", character)
        joined = unicodedata.normalize("NFKC", text[starts[-1] : i + 1]) if parts else alone
        if parts and joined != parts[-1] + alone:
            parts[-1] = joined
        else:
            parts.append(alone)
            starts.append(i)
    lowered = [part.lower() for part in parts]
    origin = [start for start, part in zip(starts, lowered) for _ in part]
    return "".join(lowered), np.array([*origin, len(text)])
