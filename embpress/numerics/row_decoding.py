"""Decoder of the rows of the format `entropy_coded`: bits to levels of the quantizer.

The counterpart of `row_coding`.
"""

from typing import NamedTuple

import numpy as np

from .compiled import compiled
from .entropy_coding import LOWEST, PRECISION, SLOTS
from .index_tables import CLASSES, MIDDLE, count_active, join_index, split_spread_class
from .row_coding import SHIFT_UNIT
from .trellis import level

LANES = 4
"""Rows decoded side by side."""


class CodedRows(NamedTuple):
    """The n rows to decode."""

    words: np.ndarray
    """uint16, words of all rows of the matrix."""
    first: np.ndarray
    """int64 (n,), position of each row's first bit."""
    length: np.ndarray
    """int64 (n,), number of each row's bits."""
    class_offset: np.ndarray
    """int64 (n,), what each row adds to the spread classes of its coordinates."""
    alignment: int
    """The rANS code begins at a multiple of this many bits."""


def shifted_levels(shift: np.ndarray) -> np.ndarray:
    """Shifted levels of indices without raw bits, float32 (CLASSES, 2, 2 * MIDDLE).

    By class, quantizer and index + MIDDLE.
    """
    index = np.arange(2 * MIDDLE) - MIDDLE
    size = abs(index)
    quantizer = np.arange(2)[:, None]
    away = shift[:, :, (size > 1).astype(int)].transpose(1, 0, 2) / np.float32(SHIFT_UNIT)
    levels = np.sign(index) * (2 * size - quantizer + away)
    return np.ascontiguousarray(levels, dtype=np.float32)


@compiled
def _read_bits(words: np.ndarray, position: int, count: int) -> int:
    """Up to 16 bits from a position on."""
    word = position >> 4
    pair = int(words[word]) | int(words[min(word + 1, len(words) - 1)]) << 16
    return pair >> (position & 15) & ((1 << count) - 1)


@compiled
def _read_raw(words: np.ndarray, position: int, count: int) -> int:
    """Up to LOW_BITS bits from a position on."""
    first = min(count, 16)
    raw = _read_bits(words, position, first)
    return raw | _read_bits(words, position + 16, count - 16) << 16 if count > 16 else raw


@compiled
def _open_row(rows: CodedRows, i: int, spread: np.ndarray, widest: int) -> tuple[int, int, int]:
    """Initial state of a row's coder, position of its next bit, and number of coded coordinates.

    The number is -1 if the row is too short for its raw bits.
    """
    active = count_active(spread, rows.class_offset[i])
    start = rows.first[i]
    if active and split_spread_class(widest + rows.class_offset[i])[1]:
        for j in range(active):
            start += split_spread_class(spread[j] + rows.class_offset[i])[1]
    start += -start % rows.alignment
    end = rows.first[i] + rows.length[i]
    if start > end:
        return 1, start, -1
    if start == end:
        return 1, start, active
    highest = (end - start - 1) % 16 + 1
    code = _read_bits(rows.words, start, highest)
    start += highest
    while code < LOWEST and start < end:
        code = code << 16 | _read_bits(rows.words, start, 16)
        start += 16
    return code, start, active


@compiled
def decode_rows(
    rows: CodedRows,
    spread: np.ndarray,
    entries: np.ndarray,
    values: tuple[np.ndarray, np.ndarray],
    following: np.ndarray,
    levels: np.ndarray,
) -> int:
    """Decode the levels of rows, LANES at a time: one row's steps wait for each other.

    Args:
        rows: the rows to decode.
        spread: int64 (d,), spread classes of the coordinates.
        entries: as in `IndexTables`.
        values: levels as of `shifted_levels`; and int8 (2, CLASSES, 2), added to the absolute
            value of a level, in units of 1 / SHIFT_UNIT.
        following: int64 (states, 2), next state by state and parity of the index.
        levels: float32 (n, d), output.

    Returns:
        The position of the first damaged row, whose bits cannot hold its low bits; -1 if none is.
    """
    shifted, shift = values
    words = rows.words
    end = rows.first + rows.length
    n, d = levels.shape
    widest = spread.max()
    code, position, state, bit = np.empty((4, LANES), dtype=np.int64)
    for first in range(0, n, LANES):
        lanes = min(LANES, n - first)
        longest = 0
        for lane in range(lanes):
            i = first + lane
            code[lane], position[lane], active = _open_row(rows, i, spread, widest)
            if active < 0:
                return i
            longest = max(longest, active)
            state[lane] = 0
            bit[lane] = rows.first[i]
        for j in range(longest):
            for lane in range(lanes):
                i = first + lane
                # Coordinates after a row's last one have table 0: index 0, without a bit.
                spread_class = spread[j] + rows.class_offset[i]
                table, low = max(spread_class, 0), 0
                if spread_class >= CLASSES:
                    table, low = split_spread_class(spread_class)
                quantizer = state[lane] & 1
                old = code[lane]
                entry = int(entries[(2 * table + quantizer) * SLOTS + (old & (SLOTS - 1))])
                new = ((entry & (SLOTS - 1)) + 1) * (old >> PRECISION)
                new += entry >> PRECISION & (SLOTS - 1)
                if new < LOWEST and position[lane] < end[i]:
                    new = new << 16 | _read_bits(words, position[lane], 16)
                    position[lane] += 16
                code[lane] = new
                index = (entry >> 2 * PRECISION) - MIDDLE
                value = shifted[table, quantizer, index + MIDDLE]
                if low:
                    raw = _read_raw(words, bit[lane], low)
                    bit[lane] += low
                    index = join_index(index, raw, low)
                    away = np.float32(shift[quantizer, table, int(abs(index) > 1)])
                    away /= np.float32(SHIFT_UNIT)
                    if index <= 0:
                        away = -away if index else np.float32(0)
                    value = level(index, quantizer) + away
                state[lane] = following[state[lane], index & 1]
                levels[i, j] = value
        levels[first : first + lanes, longest:] = 0
    return -1
