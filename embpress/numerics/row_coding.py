"""Encoder of the format `entropy_coded`: rows to indices of the trellis-coded quantizer, to words.

A coordinate's spread class in a row (see `index_tables`) is the sum of the class that the
coordinate has in all rows and of the row's class offset, 2 tier + norm class + a constant. The tier
is the class of the row's weight: the row's step is 2^(-tier / 2) times the step of tier 0. The norm
class is the class of the row's norm, in quarter octaves.
"""

from typing import NamedTuple

import numpy as np

from .compiled import compiled
from .entropy_coding import encode, max_encoded_words
from .index_tables import (
    CLASSES,
    LARGEST_INDEX,
    WIDTH,
    count_active,
    high_part,
    raw_part,
    split_spread_class,
)
from .trellis import cheapest_path, level, nearest_size

SHIFT_UNIT = 128
"""Shifts of decoded levels are stored in units of 1 / SHIFT_UNIT half steps of the quantizer."""
UNIT_BITS = 4
"""Unit of the lengths of rows: finer ones are longer to code, coarser ones waste more bits."""


class QuantizedRows(NamedTuple):
    """A block of n rows in the coordinates of the format's basis, and their indices."""

    samples: np.ndarray
    """float32 (n, d), coordinates in half steps of the quantizer."""
    norm_class: np.ndarray
    """int64 (n,), classes of the rows' norms."""
    class_offset: np.ndarray
    """int64 (n,), what each row adds to the spread classes of its coordinates."""
    indices: np.ndarray
    """int64 (n, d), indices of the quantizer."""
    quantizers: np.ndarray
    """uint8 (n, d), which of the trellis's two quantizers codes each sample."""


class _Candidates(NamedTuple):
    """The nearest index of one branch of the trellis to each of d samples."""

    indices: np.ndarray
    """int64 (d,)."""
    errors: np.ndarray
    """float32 (d,), squared errors; infinite if the table has no index of this parity."""
    places: np.ndarray
    """int64 (d,), positions of the prices of the indices among all prices."""


@compiled
def quantize_rows(
    rows: QuantizedRows, spread: np.ndarray, price: np.ndarray, scalar: bool = False
) -> None:
    """Fill indices and quantizers: per row, the path of least squared error plus price of bits.

    Args:
        rows: rows with samples and classes.
        spread: int64 (d,), spread classes of the coordinates.
        price: float32 (2, CLASSES, WIDTH), price of the coded part of each index.
        scalar: whether quantizer 0 codes all samples, so that each index is chosen alone.
    """
    d = len(spread)
    prices = price.ravel()
    indices = np.empty((4, d), dtype=np.int64)
    errors = np.empty((4, d), dtype=np.float32)
    places = np.empty((4, d), dtype=np.int64)
    classes = np.empty((3, d), dtype=np.int64)
    costs = np.empty((d, 4), dtype=np.float32)
    taken = np.empty(d, dtype=np.uint32)
    branches = np.empty(d, dtype=np.uint8)
    n_branches = 2 if scalar else 4
    for i in range(len(rows.class_offset)):
        active = count_active(spread, rows.class_offset[i])
        samples = rows.samples[i, :active]
        _split_classes(spread[:active], rows.class_offset[i], classes)
        # By constant branches: the loops over samples are then without branches of the processor.
        _nearest(samples, 0, classes, _Candidates(indices[0], errors[0], places[0]))
        _nearest(samples, 1, classes, _Candidates(indices[1], errors[1], places[1]))
        if not scalar:
            _nearest(samples, 2, classes, _Candidates(indices[2], errors[2], places[2]))
            _nearest(samples, 3, classes, _Candidates(indices[3], errors[3], places[3]))
        for j in range(active):
            for branch in range(n_branches):
                costs[j, branch] = errors[branch, j] + prices[places[branch, j]]
        if scalar:
            for j in range(active):
                branches[j] = int(costs[j, 1] < costs[j, 0])
        else:
            cheapest_path(costs[:active], taken, branches)
        for j in range(active):
            rows.indices[i, j] = indices[branches[j], j]
            rows.quantizers[i, j] = branches[j] >> 1
        rows.indices[i, active:] = 0
        rows.quantizers[i, active:] = 0


@compiled
def _split_classes(spread: np.ndarray, class_offset: int, classes: np.ndarray) -> None:
    """Fill table, number of raw bits and largest index of coordinates: int64 (3, d)."""
    table, low, largest = classes[0], classes[1], classes[2]
    for j in range(len(spread)):
        table[j], low[j] = split_spread_class(spread[j] + class_offset)
        largest[j] = LARGEST_INDEX[table[j]] << low[j]


@compiled
def _nearest(samples: np.ndarray, branch: int, classes: np.ndarray, out: _Candidates) -> None:
    """Find the nearest index of a branch to each sample, float32 (d,)."""
    table, low, largest = classes[0], classes[1], classes[2]
    quantizer = branch >> 1
    for j in range(len(samples)):
        sample = abs(samples[j])
        size = nearest_size(min(sample, np.float32(1 << 40)), branch)
        if size > largest[j]:  # the largest index of the same parity
            size = largest[j] - ((largest[j] - size) & 1)
        index = size if samples[j] >= 0 else -size
        error = sample - np.float32(level(size, quantizer))
        out.indices[j] = index
        # A table without an index of this parity is that of class 0, which codes only 0.
        out.errors[j] = error * error if size >= 0 else np.float32(np.inf)
        place = high_part(index, low[j]) + WIDTH // 2
        out.places[j] = (quantizer * CLASSES + table[j]) * WIDTH + place


@compiled
def append_bits(words: np.ndarray, end: int, value: int, count: int) -> int:
    """Write the low bits of a value after bit `end` of words that are 0 there; returns the end."""
    while count > 0:
        place = end & 15
        taken = min(16 - place, count)
        words[end >> 4] |= (value & ((1 << taken) - 1)) << place
        value >>= taken
        end += taken
        count -= taken
    return end


@compiled
def append_words(words: np.ndarray, end: int, more: np.ndarray, count: int) -> int:
    """Write the first bits of other words after bit `end`; returns the end."""
    for i in range((count + 15) // 16):
        end = append_bits(words, end, int(more[i]), min(16, count - 16 * i))
    return end


@compiled
def encode_rows(
    rows: QuantizedRows, spread: np.ndarray, frequency: np.ndarray, start: np.ndarray
) -> tuple[np.ndarray, np.ndarray, int]:
    """Encode quantized rows: of each row the raw low bits, then the rANS code of the rest.

    Rows begin at multiples of UNIT_BITS. The padding is before the highest bits of the coder's
    final state, where it reads as zeros of the state.

    Args:
        rows: rows with indices and quantizers.
        spread: int64 (d,), spread classes of the coordinates.
        frequency: int64 (2, CLASSES, WIDTH), as in `IndexTables`.
        start: int64 (2, CLASSES, WIDTH), as in `IndexTables`.

    Returns:
        uint16 words of all rows, int64 (n,) lengths of rows in units, and the number of coded
        indices.
    """
    n, d = rows.indices.shape
    most_low = max(0, split_spread_class(spread.max() + rows.class_offset.max())[1])
    words = np.zeros(n * (d * most_low // 16 + 2 + max_encoded_words(d)), dtype=np.uint16)
    coder = np.empty(max_encoded_words(d), dtype=np.uint16)
    lengths = np.empty(n, dtype=np.int64)
    frequencies = np.empty(d, dtype=np.int64)
    starts = np.empty(d, dtype=np.int64)
    end = 0
    n_coded = 0
    for i in range(n):
        active = count_active(spread, rows.class_offset[i])
        first = end
        for j in range(active):
            table, low = split_spread_class(spread[j] + rows.class_offset[i])
            index = int(rows.indices[i, j])
            quantizer = rows.quantizers[i, j]
            position = high_part(index, low) + WIDTH // 2
            frequencies[j] = frequency[quantizer, table, position]
            starts[j] = start[quantizer, table, position]
            n_coded += table > 0
            if low:
                end = append_bits(words, end, raw_part(index, low), low)
        n_words = encode(frequencies[:active], starts[:active], coder)
        highest = 0
        while n_words and coder[0] >> highest:
            highest += 1
        padding = -(end - first + highest) % UNIT_BITS
        if highest + padding > 16:
            end = append_bits(words, end, 0, highest + padding - 16)
            padding = 16 - highest
        for k in range(n_words):
            end = append_bits(words, end, int(coder[k]), 16 if k else highest + padding)
        if not n_words:
            end = append_bits(words, end, 0, padding)
        lengths[i] = (end - first) // UNIT_BITS
    return words[: (end + 15) // 16].copy(), lengths, n_coded


@compiled
def count_indices(rows: QuantizedRows, spread: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Count the coded parts of indices, and sum by how much samples exceed their levels.

    Returns:
        Counts (2, CLASSES, WIDTH) by quantizer, table and coded part + WIDTH // 2. For indices
        other than 0, sum and number of excesses |sample| - |level| in half steps, (2, 2, CLASSES,
        2): the first axis is sum or number, then quantizer, table, and whether |index| is above 1.
    """
    counts = np.zeros((2, CLASSES, WIDTH))
    excess = np.zeros((2, 2, CLASSES, 2))
    for i in range(len(rows.class_offset)):
        for j in range(count_active(spread, rows.class_offset[i])):
            table, low = split_spread_class(spread[j] + rows.class_offset[i])
            index = int(rows.indices[i, j])
            quantizer = rows.quantizers[i, j]
            counts[quantizer, table, high_part(index, low) + WIDTH // 2] += 1
            if index:
                larger = int(abs(index) > 1)
                excess[0, quantizer, table, larger] += abs(rows.samples[i, j]) - abs(
                    level(index, quantizer)
                )
                excess[1, quantizer, table, larger] += 1
    return counts, excess


@compiled
def decoded_levels(rows: QuantizedRows, spread: np.ndarray, shift: np.ndarray) -> np.ndarray:
    """Levels that a decoder gets for quantized rows, float32 (n, d).

    Args:
        rows: rows with indices and quantizers.
        spread: int64 (d,), spread classes of the coordinates.
        shift: int8 (2, CLASSES, 2), as in `row_decoding.decode_rows`.
    """
    n, d = rows.indices.shape
    levels = np.zeros((n, d), dtype=np.float32)
    for i in range(n):
        for j in range(count_active(spread, rows.class_offset[i])):
            index = int(rows.indices[i, j])
            if index:
                quantizer = rows.quantizers[i, j]
                table, _ = split_spread_class(spread[j] + rows.class_offset[i])
                away = shift[quantizer, table, int(abs(index) > 1)] / SHIFT_UNIT
                levels[i, j] = level(index, quantizer) + (away if index > 0 else -away)
    return levels
