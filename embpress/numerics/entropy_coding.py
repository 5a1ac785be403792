"""Range asymmetric numeral systems (rANS; Duda 2013), with a stream of 16-bit words per sequence.

The coder uses integers alone, so that every machine decodes the same symbols.
"""

import numpy as np

from .compiled import compiled

PRECISION = 12
"""Frequencies of a table sum to 2**PRECISION."""
SLOTS = 1 << PRECISION

LOWEST = 1 << 32
"""The state is renormalized into [LOWEST, LOWEST << 16) while words remain.

That is far enough above 2**PRECISION for accurate probabilities. The encoder starts from state 1,
so that short sequences waste no word.
"""


@compiled
def max_encoded_words(d: int) -> int:
    """Maximum number of words of d encoded symbols: PRECISION bits each and the final state."""
    return d * PRECISION // 16 + 4


@compiled
def encode(frequency: np.ndarray, start: np.ndarray, words: np.ndarray) -> int:
    """Encode d symbols, each given by its frequency and its cumulative frequency.

    Args:
        frequency: int64 (d,), 1 to 2**PRECISION.
        start: int64 (d,), sums of the frequencies of the symbols before.
        words: uint16 output of at least `max_encoded_words(d)` words; the first ones are written.

    Returns:
        The number of words written; 0 if all symbols have probability 1.
    """
    n = 0
    state = 1
    for j in range(len(frequency) - 1, -1, -1):  # rANS decodes in the reverse order
        if state >= frequency[j] << (48 - PRECISION):
            words[n] = state & 0xFFFF
            n += 1
            state >>= 16
        # Unsigned division needs no correction of signs.
        whole = np.int64(np.uint64(state) // np.uint64(frequency[j]))
        state = (whole << PRECISION) + state - whole * frequency[j] + start[j]
    if n or state > 1:
        while state:
            words[n] = state & 0xFFFF
            n += 1
            state >>= 16
    for i in range(n // 2):
        words[i], words[n - 1 - i] = words[n - 1 - i], words[i]
    return n


@compiled
def init_decoder(words: np.ndarray, position: int, end: int) -> tuple[int, int]:
    """Initial state of the decoder of words[position:end], and the position after it."""
    state = 1
    if position < end:
        state = int(words[position])
        position += 1
    for _ in range(2):  # the state holds up to three words
        state, position = renormalize(state, words, position, end)
    return state, position


@compiled
def renormalize(state: int, words: np.ndarray, position: int, end: int) -> tuple[int, int]:
    """Refill a state from the next word if it is below `LOWEST`.

    Returns:
        The state, and the position of the next word to read.
    """
    if state < LOWEST and position < end:
        return state << 16 | int(words[position]), position + 1
    return state, position
