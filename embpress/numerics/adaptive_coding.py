"""Adaptive entropy coding of matrices of integers: binary decisions of learned probability.

An integer z with a spread class (see `index_tables`) is split into raw low bits and a high part k.
The high part is coded as decisions: whether k is 0; its sign; whether |k| is above 1, above 2, and
so on. Each decision has a probability by table and place, which coder and decoder learn alike from
the decisions before, so that no table is stored. From `UNARY` on, |k| - UNARY is in
Exp-Golomb code. The decisions are coded by rANS (`entropy_coding`). All arithmetic is of integers,
so that every machine decodes the same numbers.
"""

import numpy as np

from .compiled import compiled
from .entropy_coding import (
    LOWEST,
    PRECISION,
    SLOTS,
    encode,
    init_decoder,
    max_encoded_words,
    renormalize,
)
from .index_tables import CLASSES, high_part, join_index, raw_part, split_spread_class
from .trellis import NEXT

UNARY = 14
"""High parts of smaller absolute value are coded by decisions alone."""
EXPONENTS = 20
"""Largest exponent of the Exp-Golomb code, which bounds |z| to about 2^(EXPONENTS + low bits)."""
PLACES = UNARY + EXPONENTS
FRACTION_BITS = 24
"""Bits of a learned probability."""
MEMORY = 400
"""Decisions over which a probability is averaged; fewer at first."""
SEEN = 32
"""First bit of the number of decisions in an entry of `Probabilities`."""
SEEN_ROOM = 512
"""Bound on the number of decisions: a power of 2, above MEMORY."""
SHARES = np.array([(1 << 16) // (n + 2) for n in range(MEMORY)])
"""Share of the newest decision in the probability after n decisions, in units of 2^-16."""


class Probabilities:
    """Learned probabilities of all decisions.

    Attributes:
        entries: int64, at table x PLACES + place: probability of the answer no, in units of
            2^-FRACTION_BITS, and from bit SEEN on the decisions so far, at most MEMORY - 1.
    """

    def __init__(self, tables: int = CLASSES) -> None:
        self.entries = np.full(tables * PLACES, 1 << (FRACTION_BITS - 1), dtype=np.int64)


@compiled
def _frequency(entry: int) -> int:
    """Slots of the answer no; of the other at least one, as a probability remains below 1."""
    zero = entry & ((1 << SEEN) - 1)
    return max(zero >> (FRACTION_BITS - PRECISION), 1)


@compiled
def _learn(entry: int, bit: int) -> int:
    """The entry of a probability after a decision."""
    zero = entry & ((1 << SEEN) - 1)
    seen = entry >> SEEN & (SEEN_ROOM - 1)
    target = 0 if bit else 1 << FRACTION_BITS
    zero += (target - zero) * SHARES[seen] >> 16
    return zero | (seen + (seen < MEMORY - 1)) << SEEN


@compiled
def _decide(
    bit: int, entries: np.ndarray, place: int, out: tuple[np.ndarray, np.ndarray], n: int
) -> int:
    """Append a decision to `out` and learn from it; returns the number of decisions."""
    frequency = _frequency(entries[place])
    out[0][n] = SLOTS - frequency if bit else frequency
    out[1][n] = frequency if bit else 0
    entries[place] = _learn(entries[place], bit)
    return n + 1


@compiled
def _append_raw(bits: int, count: int, out: tuple[np.ndarray, np.ndarray], n: int) -> int:
    """Append equally probable bits, the lowest first; returns the number of decisions."""
    for b in range(count):
        out[0][n] = SLOTS // 2
        out[1][n] = (bits >> b & 1) * (SLOTS // 2)
        n += 1
    return n


@compiled
def _count_decisions(values: np.ndarray, rows: np.ndarray, columns: np.ndarray) -> int:
    """Upper bound on the number of decisions of a matrix."""
    n = 0
    for i in range(len(rows)):
        for j in range(len(columns)):
            _, low = split_spread_class(rows[i] + columns[j])
            n += min(abs(high_part(values[i, j], low)), UNARY) + 2 + low
            if abs(high_part(values[i, j], low)) >= UNARY:
                n += 2 * EXPONENTS
    return n


HALF = PRECISION - 1
"""Bit of the coder's state that an equally probable bit is read from."""
NO_STATES = np.zeros(0, dtype=np.int64)
"""Of matrices whose columns are no paths of the trellis."""


def encode_matrix(
    values: np.ndarray,
    rows: np.ndarray,
    columns: np.ndarray,
    entries: np.ndarray,
    states: np.ndarray = NO_STATES,
) -> np.ndarray:
    """Encode a matrix of integers, row by row.

    Args:
        values: int32 (n, d).
        rows: int64 (n,), what each row adds to the spread classes of its values.
        columns: int64 (d,), what each column adds.
        entries: as in `Probabilities`; changed.
        states: int64 (d,), if columns are paths of the trellis, their states before the first row;
            changed to those after the last. Each of the two quantizers has tables of its own.

    Returns:
        The words, uint16.
    """
    return _encode_matrix(values, rows, columns, entries, states)


@compiled
def _encode_matrix(
    values: np.ndarray,
    rows: np.ndarray,
    columns: np.ndarray,
    entries: np.ndarray,
    states: np.ndarray,
) -> np.ndarray:
    """See `encode_matrix`."""
    room = _count_decisions(values, rows, columns)
    out = (np.empty(room, dtype=np.int64), np.empty(room, dtype=np.int64))
    n = 0
    for i in range(len(rows)):
        for j in range(len(columns)):
            table, low = split_spread_class(rows[i] + columns[j])
            value = int(values[i, j])
            high = high_part(value, low)
            if len(states):
                table += CLASSES * (states[j] & 1)
                states[j] = NEXT[states[j], value & 1]
            first = table * PLACES
            size = abs(high)
            n = _decide(int(size > 0), entries, first, out, n)
            if size:
                n = _append_raw(int(high < 0), 1, out, n)
                place = 1
                while place < UNARY and size > place:
                    n = _decide(1, entries, first + place, out, n)
                    place += 1
                if place < UNARY:
                    n = _decide(0, entries, first + place, out, n)
                else:
                    rest = size - UNARY + 1
                    exponent = 0
                    while rest >> (exponent + 1):
                        n = _decide(1, entries, first + UNARY + exponent, out, n)
                        exponent += 1
                    n = _decide(0, entries, first + UNARY + exponent, out, n)
                    n = _append_raw(rest & ((1 << exponent) - 1), exponent, out, n)
            n = _append_raw(raw_part(value, low), low, out, n)
    words = np.empty(max_encoded_words(n), dtype=np.uint16)
    return words[: encode(out[0][:n], out[1][:n], words)].copy()


@compiled
def _read_raw(state: int, words: np.ndarray, position: int, count: int) -> tuple[int, int, int]:
    """Decode equally probable bits, the lowest first: these, state and position."""
    rest = (1 << HALF) - 1
    if state >> count >= LOWEST:  # no bit needs a new word
        raw = state >> HALF & ((1 << count) - 1)
        return raw, state >> (HALF + count) << HALF | state & rest, position
    raw = 0
    for b in range(count):
        raw |= (state >> HALF & 1) << b
        state = state >> PRECISION << HALF | state & rest
        state, position = renormalize(state, words, position, len(words))
    return raw, state, position


@compiled
def _read_learned(
    state: int, words: np.ndarray, position: int, entries: np.ndarray, place: int
) -> tuple[int, int, int]:
    """Decode a decision and learn from it: the answer, state and position."""
    frequency = _frequency(entries[place])
    slot = state & (SLOTS - 1)
    bit = int(slot >= frequency)
    # Before the state: processors then learn while they wait for it.
    entries[place] = _learn(entries[place], bit)
    below = frequency * (state >> PRECISION)
    state = state - below - frequency if bit else below + slot
    state, position = renormalize(state, words, position, len(words))
    return bit, state, position


@compiled
def _read_high(
    state: int, words: np.ndarray, position: int, entries: np.ndarray, first: int
) -> tuple[int, int, int]:
    """Decode a high part with the table of entries from the first on: it, state and position."""
    bit, state, position = _read_learned(state, words, position, entries, first)
    if not bit:
        return 0, state, position
    negative, state, position = _read_raw(state, words, position, 1)
    size = 1
    while size < UNARY and bit:
        bit, state, position = _read_learned(state, words, position, entries, first + size)
        size += bit
    if size == UNARY:
        exponent = 0
        bit = 1
        while bit:
            place = first + UNARY + exponent
            bit, state, position = _read_learned(state, words, position, entries, place)
            exponent += bit
            if exponent == EXPONENTS:  # only in damaged words
                exponent -= 1
                bit = 0
        rest, state, position = _read_raw(state, words, position, exponent)
        size += (1 << exponent | rest) - 1
    return (-size if negative else size), state, position


def decode_matrix(
    words: np.ndarray,
    rows: np.ndarray,
    columns: np.ndarray,
    entries: np.ndarray,
    states: np.ndarray = NO_STATES,
) -> np.ndarray:
    """Decode what `encode_matrix` encoded, with the same arguments: int32 (n, d).

    Words that are no code of the matrix give some other integers, never an error.
    """
    return _decode_matrix(words, rows, columns, entries, states)


@compiled
def _decode_matrix(
    words: np.ndarray,
    rows: np.ndarray,
    columns: np.ndarray,
    entries: np.ndarray,
    states: np.ndarray,
) -> np.ndarray:
    """See `decode_matrix`."""
    values = np.empty((len(rows), len(columns)), dtype=np.int32)
    state, position = init_decoder(words, 0, len(words))
    for i in range(len(rows)):
        for j in range(len(columns)):
            table, low = split_spread_class(rows[i] + columns[j])
            if len(states):
                table += CLASSES * (states[j] & 1)
            high, state, position = _read_high(state, words, position, entries, table * PLACES)
            raw = 0
            if low:
                raw, state, position = _read_raw(state, words, position, low)
            value = join_index(high, raw, low)
            if len(states):
                states[j] = NEXT[states[j], value & 1]
            values[i, j] = value
    return values


@compiled
def encode_symbols(
    symbols: np.ndarray, tables: np.ndarray, width: int, entries: np.ndarray
) -> np.ndarray:
    """Encode small integers by their bits, each conditioned on the bits above it.

    Args:
        symbols: int64 (n,), in [0, 2^width).
        tables: int64 (n,), the table of probabilities for each symbol.
        width: bits of a symbol, at most 5.
        entries: as in `Probabilities`; changed.

    Returns:
        The words, uint16.
    """
    out = (
        np.empty(len(symbols) * width, dtype=np.int64),
        np.empty(len(symbols) * width, dtype=np.int64),
    )
    n = 0
    for i in range(len(symbols)):
        place = 1
        for b in range(width - 1, -1, -1):
            bit = int(symbols[i]) >> b & 1
            n = _decide(bit, entries, tables[i] * PLACES + place, out, n)
            place = 2 * place + bit
    words = np.empty(max_encoded_words(n), dtype=np.uint16)
    return words[: encode(out[0], out[1], words)].copy()


@compiled
def decode_symbols(
    words: np.ndarray, tables: np.ndarray, by_last: bool, width: int, entries: np.ndarray
) -> np.ndarray:
    """Decode what `encode_symbols` encoded: int64 (n,).

    With `by_last` the table of each symbol is the symbol before it, 0 at first, and `tables` only
    says how many there are.
    """
    symbols = np.empty(len(tables), dtype=np.int64)
    state, position = init_decoder(words, 0, len(words))
    last = 0
    for i in range(len(symbols)):
        first = (last if by_last else tables[i]) * PLACES
        place = 1
        for _ in range(width):
            bit, state, position = _read_learned(state, words, position, entries, first + place)
            place = 2 * place + bit
        last = place - (1 << width)
        symbols[i] = last
    return symbols
