"""Range asymmetric numeral systems (rANS; Duda 2013): many sequences coded side by side, each into its own 16-bit words.

Loops run over positions and work on all sequences at once, so that a batch of rows decodes in as many steps as one row.
Integers only: what one machine wrote any other reads.
"""

from collections.abc import Callable

import numpy as np

PRECISION = 12
"""Frequencies of a table sum to 2**PRECISION."""

LOWEST = 1 << 32
"""States stay in [LOWEST, LOWEST << 16) while words remain: far enough above 2**PRECISION for exact proportions. They
start at 1, so that short sequences waste no word."""

Integers = np.ndarray


def encode(frequency: Integers, start: Integers) -> tuple[Integers, Integers]:
    """Code n sequences of d symbols given by their frequencies and the sums of frequencies below them.

    Args:
        frequency: int64 (d, n), 1 to 2**PRECISION.
        start: int64 (d, n).

    Returns:
        All words one sequence after another (uint16), and the number of words of each (n,).
    """
    d, n = frequency.shape
    # A symbol costs at most PRECISION bits; three words hold the last state.
    words = np.zeros((n, d * PRECISION // 16 + 4), dtype=np.uint16)
    length, state = np.zeros(n, dtype=np.int64), np.ones(n, dtype=np.int64)

    def emit(sequences: Integers) -> None:
        words[sequences, length[sequences]] = state[sequences] & 0xFFFF
        length[sequences] += 1
        state[sequences] >>= 16

    for j in range(d - 1, -1, -1):  # what is coded last is decoded first
        emit(np.flatnonzero(state >= frequency[j] << (48 - PRECISION)))
        quotient, rest = np.divmod(state, frequency[j])
        state = (quotient << PRECISION) + rest + start[j]
    open_ended = (state > 1) | (length > 0)
    while (left := open_ended & (state > 0)).any():
        emit(np.flatnonzero(left))
    backwards = length[:, None] - 1 - np.arange(words.shape[1])
    flat = np.take_along_axis(words, backwards.clip(0), axis=1)
    return flat[backwards >= 0], length


def decode(
    words: Integers,
    first: Integers,
    length: Integers,
    d: int,
    table: Callable[[int, Integers], Integers],
    frequency: Integers,
    offset: Integers,
) -> None:
    """Decode n sequences of d symbols side by side.

    Args:
        words: uint16 stream of all sequences.
        first: position (n,) of each sequence's first word.
        length: number of words (n,) of each.
        d: symbols a sequence.
        table: called with each position j and the states' slots (n,), in order; gives the entries (n,) of the lookup
            tables that the slots fall into. It is where symbols are seen.
        frequency: frequency of the symbol of each entry.
        offset: slot of each entry - frequencies below its symbol.
    """
    end, position = first + length, first + 1
    last = len(words) - 1
    state = np.where(length > 0, words[np.minimum(first, last)] if last >= 0 else 1, 1).astype(np.int64)
    for j in range(-2, d):  # the first state takes up to three words
        if j >= 0:
            entry = table(j, state & ((1 << PRECISION) - 1))
            state = frequency[entry] * (state >> PRECISION) + offset[entry]
        short = np.flatnonzero((state < LOWEST) & (position < end))
        if len(short):
            state[short] = state[short] << 16 | words[position[short]]
            position[short] += 1
