"""Frequency tables of the trellis-coded quantizer's indices, for the entropy coder.

Every coordinate has a spread class: its expected standard deviation in quarter octaves of the
quantizer's step (`OCTAVE` classes double it). Each class has its own table. Coordinates of larger
classes store their low bits raw, where they are nearly uniform, and code the rest of the index with
the table of a smaller class (four classes per raw bit): `CLASSES` tables then serve every rate.
"""

import numpy as np
import torch
from torch import Tensor

from .compiled import compiled
from .entropy_coding import PRECISION, SLOTS
from .trellis import level

CLASSES = 22
"""Number of tables. Class c is for a standard deviation of 2^((c - UNIT) / OCTAVE) steps.

Coordinates of class 0 or below are coded as 0 and take no bits.
"""
UNIT = 12
OCTAVE = 4
SPREADS = 6
"""Range of a table: this many standard deviations and one step."""
LOW_BITS = 24
"""Maximum number of raw low bits of an index."""

LARGEST_INDEX = np.array(
    [0] + [int(SPREADS * 2 ** ((c - UNIT) / OCTAVE)) + 2 for c in range(1, CLASSES)]
)
"""Largest index in the table of each class, without low bits."""
WIDTH = 2 * int(LARGEST_INDEX.max()) + 1
MIDDLE = 64
"""Added to an index of a table, so that it is below SYMBOLS; even, so that parity is kept."""
SYMBOLS = 2 * MIDDLE
COUNT = int((LARGEST_INDEX[1:] + 1).sum())
"""Frequencies stored for one quantizer: of index 0 and of each absolute value, in classes 1 up."""


@compiled
def split_spread_class(spread_class: int) -> tuple[int, int]:
    """Table and number of raw low bits of a coordinate of this spread class."""
    low = min(max((spread_class - CLASSES + OCTAVE) // OCTAVE, 0), LOW_BITS)
    return min(max(spread_class - OCTAVE * low, 0), CLASSES - 1), low


@compiled
def count_active(spread: np.ndarray, class_offset: int) -> int:
    """Number of leading coordinates of a row that are coded.

    Args:
        spread: int64 (d,), spread classes of the coordinates.
        class_offset: number that the row adds to them.

    Returns:
        The position after the last coordinate of a class above 0.
    """
    active = len(spread)
    while active and spread[active - 1] + class_offset <= 0:
        active -= 1
    return active


@compiled
def high_part(index: int, low: int) -> int:
    """An index without its low bits, rounded symmetrically about 0."""
    return (index + (1 << low >> 1)) >> low


@compiled
def raw_part(index: int, low: int) -> int:
    """The low bits of an index, in [0, 2^low)."""
    return (index + (1 << low >> 1)) & ((1 << low) - 1)


@compiled
def join_index(high: int, raw: int, low: int) -> int:
    """The index of these parts: the inverse of `high_part` and `raw_part`."""
    return (high << low) + raw - (1 << low >> 1)


def laplace_probabilities(quantizer: int, table: int) -> np.ndarray:
    """Probabilities of the indices 0, 1, ... (of each sign) of a Laplace source of a table's class.

    They are the prior of `fit_frequencies`.
    """
    edges = np.array([level(k, quantizer) for k in range(LARGEST_INDEX[table] + 2)], dtype=float)
    edges = (edges[1:] + edges[:-1]) / 2
    # Levels are in half steps of the quantizer.
    scale = 2 * 2 ** ((table - UNIT) / OCTAVE) / 2**0.5
    above = 0.5 * np.exp(-np.concatenate([edges, [np.inf]]) / scale)
    return np.concatenate([[1 - 2 * above[0]], above[:-2] - above[1:-1]])


def fit_frequencies(counts: np.ndarray, prior: float = 30.0) -> Tensor:
    """Fit the stored frequencies to counts of indices.

    Args:
        counts: (2, CLASSES, WIDTH) by quantizer, class and index + WIDTH // 2.
        prior: number of observations that the Laplace probabilities count as.

    Returns:
        int16 (2, COUNT).
    """
    stored = []
    middle = WIDTH // 2
    for quantizer in (0, 1):
        for table in range(1, CLASSES):
            size = LARGEST_INDEX[table] + 1
            both = counts[quantizer, table, middle:] + counts[quantizer, table, middle::-1]
            seen = np.concatenate([both[:1] / 2, both[1:size] / 2])
            probability = seen + prior * laplace_probabilities(quantizer, table)
            probability /= probability[0] + 2 * probability[1:].sum()
            # Each index gets at least one slot; index 0 gets the rest.
            sizes = 1 + np.floor(probability[1:] * ((1 << PRECISION) - 2 * size)).astype(np.int64)
            stored.append(np.concatenate([[(1 << PRECISION) - 2 * sizes.sum()], sizes]))
    return torch.from_numpy(np.concatenate(stored).astype(np.int16)).view(2, COUNT)


class IndexTables:
    """Stored frequencies expanded into tables for encoding and decoding.

    Attributes:
        frequency, start: int64 (2, CLASSES, WIDTH) by quantizer, class and index + WIDTH // 2:
            frequency and cumulative frequency of an index; 0 where it cannot be coded.
        symbols: uint8, at (2 x class + quantizer) x SLOTS + slot: index of the slot, + MIDDLE.
        intervals: uint32, at (2 x class + quantizer) x SYMBOLS + index + MIDDLE: frequency of the
            index, and its cumulative frequency from bit 16 on. One byte a slot keeps the tables in
            the processor's cache.
    """

    def __init__(self, stored: Tensor) -> None:
        middle = WIDTH // 2
        self.frequency = np.zeros((2, CLASSES, WIDTH), dtype=np.int64)
        self.start = np.zeros_like(self.frequency)
        symbols = np.empty((CLASSES, 2, SLOTS), dtype=np.uint8)
        intervals = np.zeros((CLASSES, 2, SYMBOLS), dtype=np.uint32)
        for quantizer in (0, 1):
            position = 0
            for table in range(CLASSES):
                size = LARGEST_INDEX[table] + 1
                sizes = np.array([SLOTS])
                if table:
                    sizes = stored[quantizer, position : position + size].numpy().astype(np.int64)
                    position += size
                # 0, 1, -1, 2, -2, ...: a run of zeros leaves the coder's initial state at 1,
                # without a bit.
                order = np.concatenate(
                    [[0], np.stack([np.arange(1, size), -np.arange(1, size)], 1).ravel()]
                )
                frequency = sizes[np.abs(order)]
                start = np.cumsum(frequency) - frequency
                self.frequency[quantizer, table, order + middle] = frequency
                self.start[quantizer, table, order + middle] = start
                symbols[table, quantizer] = np.repeat(order + MIDDLE, frequency)
                intervals[table, quantizer, order + MIDDLE] = frequency | start << 16
        self.symbols, self.intervals = symbols.ravel(), intervals.ravel()

    def costs(self) -> np.ndarray:
        """Bits of each index: float32 (2, CLASSES, WIDTH), infinite where it cannot be coded."""
        with np.errstate(divide="ignore"):
            return (PRECISION - np.log2(self.frequency)).astype(np.float32)
