"""Range asymmetric numeral systems (rANS; Duda 2013): each sequence of symbols is coded into 16-bit
words of its own.

Integers only: what one machine wrote any other reads.
"""

import numpy as np

from .compiled import compiled

PRECISION = 12
"""Frequencies of a table sum to 2**PRECISION."""
SLOTS = 1 << PRECISION

LOWEST = 1 << 32
"""States stay in [LOWEST, LOWEST << 16) while words remain: far enough above 2**PRECISION for exact
proportions. They start at 1, so that short sequences waste no word."""


@compiled
def most_words(d: int) -> int:
    """Words that d symbols take at most.

    PRECISION bits each, and three words for the last state.
    """
    return d * PRECISION // 16 + 4


@compiled
def encode(frequency: np.ndarray, start: np.ndarray, words: np.ndarray) -> int:
    """Code d symbols given by their frequencies and the sums of frequencies below them.

    Args:
        frequency: int64 (d,), 1 to 2**PRECISION.
        start: int64 (d,).
        words: uint16, as long as `most_words` or longer; the first of them are written.

    Returns:
        The number of words written; none if all symbols are certain.
    """
    n = 0
    state = 1
    for j in range(len(frequency) - 1, -1, -1):  # what is coded last is decoded first
        if state >= frequency[j] << (48 - PRECISION):
            words[n] = state & 0xFFFF
            n += 1
            state >>= 16
        state = (state // frequency[j] << PRECISION) + state % frequency[j] + start[j]
    if n or state > 1:
        while state:
            words[n] = state & 0xFFFF
            n += 1
            state >>= 16
    for i in range(n // 2):
        words[i], words[n - 1 - i] = words[n - 1 - i], words[i]
    return n


@compiled
def first_state(words: np.ndarray, position: int, end: int) -> tuple[int, int]:
    """The state that the decoder of words[position:end] starts in, and where it reads on."""
    state = 1
    if position < end:
        state = int(words[position])
        position += 1
    for _ in range(2):  # it takes up to three words
        state, position = refilled(state, words, position, end)
    return state, position


@compiled
def refilled(state: int, words: np.ndarray, position: int, end: int) -> tuple[int, int]:
    """A state back in its range, after the symbol in its lowest PRECISION bits was taken out.

    And where to read on.
    """
    if state < LOWEST and position < end:
        return state << 16 | int(words[position]), position + 1
    return state, position
