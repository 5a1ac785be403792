"""Decoder of the rows of the format `entropy_coded`: bits to coordinates.

The counterpart of `row_coding`. The steps of one row wait for each other, so that LANES rows are
decoded side by side. These have the same spread classes: what is read of tables and raw bits then
changes for all lanes at once. A row is decoded once in a call, whether it was asked for, predicts
others, or both.
"""

from typing import NamedTuple

import numpy as np

from .compiled import compiled
from .entropy_coding import LOWEST, PRECISION, SLOTS
from .index_tables import MIDDLE, SYMBOLS, join_index, split_spread_class
from .row_coding import SHIFT_UNIT

LANES = 8
"""Rows decoded side by side."""
RAW_BITS = 32
"""Raw bits read at once, more than a coordinate has."""


class StoredRows(NamedTuple):
    """All rows of a matrix, as they are stored."""

    words: np.ndarray
    """uint16, words of all rows."""
    first: np.ndarray
    """int64 (V,), position of each row's first bit."""
    length: np.ndarray
    """int64 (V,), number of each row's bits."""
    class_offset: np.ndarray
    """int64 (V,), what each row adds to the spread classes of its coordinates."""
    step: np.ndarray
    """float32 (V,), step of each row."""
    gain: np.ndarray
    """float32 (V,), what the row's reference is multiplied by; 0 of rows without one."""
    reference: np.ndarray
    """int64 (V,), the row that predicts each row, which has no reference itself."""
    alignment: int
    """The rANS code begins at a multiple of this many bits."""


class LevelTables(NamedTuple):
    """What turns bits into levels of the quantizer."""

    spread: np.ndarray
    """int64 (d,), spread classes of the coordinates."""
    symbols: np.ndarray
    """As in `IndexTables`."""
    intervals: np.ndarray
    """As in `IndexTables`."""
    levels: np.ndarray
    """float32, levels of indices without raw bits, at the places of `intervals`."""
    shifts: np.ndarray
    """float64 (2 x CLASSES, 3), by 2 x class + quantizer and absolute index, at most 2: what is
    added to the quantizer's level."""
    following: np.ndarray
    """uint8, next state of the trellis, at 2 x state + parity of the index."""


class Lanes(NamedTuple):
    """Coders of rows of one class offset, int64 (LANES,) each unless said otherwise."""

    code: np.ndarray
    words: np.ndarray
    """uint16 (LANES, words of a row), what is left of the rows' codes."""
    position: np.ndarray
    """uint32, of the next word."""
    end: np.ndarray
    """uint32, number of words."""
    state: np.ndarray
    """uint32, of the trellis."""
    first: np.ndarray
    """Position of the rows' next raw bits in the stream."""
    raw: np.ndarray
    """Raw bits that were read and not used."""
    row: np.ndarray
    """uint32, of the output."""
    step: np.ndarray
    """float32, of the row."""


def level_tables(
    spread: np.ndarray,
    symbols: np.ndarray,
    intervals: np.ndarray,
    shift: np.ndarray,
    following: np.ndarray,
) -> LevelTables:
    """Tables of a decoder.

    Args:
        spread: int64 (d,), spread classes of the coordinates.
        symbols: as in `IndexTables`.
        intervals: as in `IndexTables`.
        shift: int8 (2, CLASSES, 2), by quantizer, class and whether the absolute index is above 1:
            added to the absolute value of a level, in units of 1 / SHIFT_UNIT.
        following: int64 (states, 2), next state by state and parity of the index.
    """
    away = shift.transpose(1, 0, 2) / SHIFT_UNIT
    # The level of index k is 2 |k| - quantizer with the sign of k, and 0 of index 0.
    shifts = np.zeros((*away.shape[:2], 3))
    shifts[:, :, 1:] = away - np.arange(2)[:, None]
    index = np.arange(SYMBOLS) - MIDDLE
    levels = np.sign(index) * (2 * abs(index) + shifts[:, :, abs(index).clip(max=2)])
    return LevelTables(
        spread,
        symbols,
        intervals,
        levels.astype(np.float32).ravel(),
        shifts.reshape(-1, 3),
        following.astype(np.uint8).ravel(),
    )


@compiled
def decode_rows(ids: np.ndarray, rows: StoredRows, tables: LevelTables) -> tuple[np.ndarray, int]:
    """Decode the coordinates of rows, and of those that predict them.

    Args:
        ids: int64 (n,), of the rows.
        rows: all rows.
        tables: what turns bits into levels.

    Returns:
        float32 (n + m, d), coordinates of the rows, and of m other rows that predict them; and the
        id of a damaged row, whose bits cannot hold its raw bits, or -1.

    Raises:
        IndexError: if an id is not that of a row.
    """
    n = len(ids)
    needed, first, reference = _needed_rows(ids, rows)
    coordinates = np.empty((len(needed), len(tables.spread)), dtype=np.float32)
    order = _by_class_offset(needed, first, rows.class_offset)
    start = 0
    while start < len(order):
        class_offset = rows.class_offset[needed[order[start]]]
        stop = start + 1
        while stop < len(order) and rows.class_offset[needed[order[stop]]] == class_offset:
            stop += 1
        damaged = _decode_class(order[start:stop], needed, rows, tables, coordinates)
        if damaged >= 0:
            return coordinates, damaged
        start = stop
    for i in range(n):
        gain = rows.gain[ids[i]]
        if first[i] < i:
            coordinates[i] = coordinates[first[i]]
        elif gain:
            coordinates[i] += gain * coordinates[reference[i]]
    return coordinates, -1


@compiled
def _needed_rows(ids: np.ndarray, rows: StoredRows) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Rows to decode for ids (n,): these, then the distinct references that are not among them.

    Returns:
        int64 (n + m,), the rows; int64 (n + m,), position of the first one that is the same; int64
        (n,), position of the row's reference.
    """
    n = len(ids)
    needed = np.empty(2 * n, dtype=np.int64)
    first = np.empty(2 * n, dtype=np.int64)
    reference = np.empty(n, dtype=np.int64)
    size = 4
    while size < 4 * n:
        size *= 2
    positions = np.full(size, -1, dtype=np.int64)  # by rows, with open addressing
    end = n
    for i in range(2 * n):
        row = ids[i] if i < n else rows.reference[ids[i - n]]
        if row < 0 or row >= len(rows.first):
            raise IndexError("the id of a row is out of range")
        slot = row & (size - 1)
        while positions[slot] >= 0 and needed[positions[slot]] != row:
            slot = (slot + 1) & (size - 1)
        position = i if i < n else end
        is_new = positions[slot] < 0
        if is_new:
            positions[slot] = position
        if is_new or i < n:
            needed[position] = row
            first[position] = positions[slot]
        if i >= n:
            reference[i - n] = positions[slot]
            end += is_new
    return needed[:end], first[:end], reference


@compiled
def _by_class_offset(needed: np.ndarray, first: np.ndarray, class_offset: np.ndarray) -> np.ndarray:
    """Positions of the distinct rows, sorted by their class offsets: int64."""
    distinct = np.flatnonzero(first == np.arange(len(first)))
    offsets = class_offset[needed[distinct]]
    if not len(offsets):
        return distinct
    lowest = offsets.min()
    ends = np.zeros(offsets.max() - lowest + 2, dtype=np.int64)
    for offset in offsets:
        ends[offset - lowest + 1] += 1
    ends = np.cumsum(ends)
    order = np.empty_like(distinct)
    for i in range(len(distinct)):
        place = offsets[i] - lowest
        order[ends[place]] = distinct[i]
        ends[place] += 1
    return order


@compiled
def _decode_class(
    order: np.ndarray,
    needed: np.ndarray,
    rows: StoredRows,
    tables: LevelTables,
    coordinates: np.ndarray,
) -> int:
    """Decode the rows at positions of one class offset; returns a damaged row, or -1."""
    d = len(tables.spread)
    table = np.empty(d, dtype=np.uint32)
    low = np.empty(d, dtype=np.int64)
    active = 0
    for j in range(d):
        spread_class = tables.spread[j] + rows.class_offset[needed[order[0]]]
        table[j], low[j] = split_spread_class(spread_class)
        if spread_class > 0:
            active = j + 1
    n_raw = low.sum()
    lanes = Lanes(
        np.empty(LANES, dtype=np.int64),
        np.zeros((LANES, d + 4), dtype=np.uint16),
        np.empty(LANES, dtype=np.uint32),
        np.empty(LANES, dtype=np.uint32),
        np.empty(LANES, dtype=np.uint32),
        np.empty(LANES, dtype=np.int64),
        np.empty(LANES, dtype=np.int64),
        np.empty(LANES, dtype=np.uint32),
        np.empty(LANES, dtype=np.float32),
    )
    for start in range(0, len(order), LANES):
        n = min(LANES, len(order) - start)
        for lane in range(n):
            row = needed[order[start + lane]]
            lanes.row[lane] = order[start + lane]
            lanes.step[lane] = rows.step[row]
            if not _open_row(rows, row, n_raw, lanes, lane):
                return int(row)
            coordinates[order[start + lane], active:] = 0
        _decode_lanes(n, (table[:active], low), rows.words, lanes, tables, coordinates)
    return -1


@compiled
def _open_row(rows: StoredRows, row: int, n_raw: int, lanes: Lanes, lane: int) -> bool:
    """Begin to decode a row in a lane; returns False if it is too short for its raw bits."""
    lanes.first[lane] = rows.first[row]
    start = rows.first[row] + n_raw
    start += -start % rows.alignment
    left = rows.first[row] + rows.length[row] - start
    # The coder's state begins with the bits that are no whole word.
    highest = (left - 1) % 16 + 1 if left > 0 else 0
    code = _read_bits(rows.words, start, highest) if left > 0 else 1
    start += highest
    most = lanes.words.shape[1] - 1
    end = min((left - highest) >> 4, most) if left > 0 else 0
    whole = rows.words[start >> 4 :]
    shift = start & 15
    for k in range(end):
        lanes.words[lane, k] = whole[k] >> shift
        if shift:
            lanes.words[lane, k] |= whole[k + 1] << (16 - shift)
    position = 0
    while code < LOWEST and position < end:
        code = code << 16 | int(lanes.words[lane, position])
        position += 1
    lanes.code[lane] = code
    lanes.position[lane] = position
    lanes.end[lane] = end
    lanes.state[lane] = 0
    lanes.raw[lane] = 0
    return left >= 0


@compiled
def _read_bits(words: np.ndarray, position: int, count: int) -> int:
    """Up to 16 bits from a position on; beyond the last word, some others."""
    last = len(words) - 1
    word = position >> 4
    pair = int(words[min(word, last)]) | int(words[min(word + 1, last)]) << 16
    return pair >> (position & 15) & ((1 << count) - 1)


@compiled
def _decode_lanes(
    n: int,
    classes: tuple[np.ndarray, np.ndarray],
    words: np.ndarray,
    lanes: Lanes,
    tables: LevelTables,
    coordinates: np.ndarray,
) -> None:
    """Decode the rows in the first n lanes.

    Args:
        n: number of lanes.
        classes: of the coordinates that are coded, their tables, uint32, and raw bits, int64.
        words: of all rows.
        lanes: coders of the rows.
        tables: what turns bits into levels.
        coordinates: float32 (m, d), output.
    """
    table, raw_bits = classes
    available = 0
    for j in range(len(table)):
        low = raw_bits[j]
        if low > available:
            for lane in range(n):
                for part in (0, 16):
                    more = _read_bits(words, lanes.first[lane] + part, 16)
                    lanes.raw[lane] |= more << (available + part)
                lanes.first[lane] += RAW_BITS
            available += RAW_BITS
        available -= low
        for lane in range(n):
            row = 2 * table[j] + (lanes.state[lane] & 1)
            old = lanes.code[lane]
            slot = old & (SLOTS - 1)
            symbol = int(tables.symbols[row * SLOTS + slot])
            interval = int(tables.intervals[row * SYMBOLS + symbol])
            code = (interval & 0xFFFF) * (old >> PRECISION) + slot - (interval >> 16)
            # Without a branch, which could not be predicted.
            position = lanes.position[lane]
            is_low = (code < LOWEST) & (position < lanes.end[lane])
            refilled = code << 16 | int(lanes.words[lane, position])
            lanes.code[lane] = refilled if is_low else code
            lanes.position[lane] = position + is_low
            if low:
                raw = lanes.raw[lane] & ((1 << low) - 1)
                lanes.raw[lane] >>= low
                index = join_index(symbol - MIDDLE, raw, low)
                size = abs(index)
                level = 2 * size + tables.shifts[row, min(size, 2)]
                value = np.float32(level if index > 0 else -level)
                parity = index & 1
            else:
                value = tables.levels[row * SYMBOLS + symbol]
                parity = symbol & 1
            lanes.state[lane] = tables.following[2 * lanes.state[lane] + parity]
            coordinates[lanes.row[lane], j] = value * lanes.step[lane]
