"""How likely each index of the trellis-coded quantiser is, by the spread of what it codes: tables
for the entropy coder.

A coordinate's class is the spread that it is expected to have, in quarter octaves of the
quantiser's step. Wide coordinates give their low bits to a raw section, where they would be nearly
uniform anyway, and the rest of the index to the class four per bit lower, so that 22 tables serve
every rate.
"""

import numpy as np
import torch
from torch import Tensor

from .compiled import compiled
from .entropy_coding import PRECISION, SLOTS
from .trellis import level

CLASSES = 22
"""Class c holds coordinates whose standard deviation is near 2^((c - UNIT) / OCTAVE) steps of the
quantiser. What is of class 0 or below is coded as 0 without a bit."""
UNIT = 12
OCTAVE = 4
SPREADS = 6
"""Standard deviations that every table holds, and one step more."""
LOW_BITS = 24
"""Most low bits of an index that are stored raw."""

WIDEST = np.array([0] + [int(SPREADS * 2 ** ((c - UNIT) / OCTAVE)) + 2 for c in range(1, CLASSES)])
"""Largest index that each class codes, low bits aside."""
WIDTH = 2 * int(WIDEST.max()) + 1
COUNT = int((WIDEST[1:] + 1).sum())
"""Frequencies stored for one quantiser.

Of index 0 and of each size above it, in all classes but 0.
"""


@compiled
def split_class(spread: int) -> tuple[int, int]:
    """Table and number of raw low bits for a coordinate of a class of any size."""
    low = min(max((spread - CLASSES + OCTAVE) // OCTAVE, 0), LOW_BITS)
    return min(max(spread - OCTAVE * low, 0), CLASSES - 1), low


@compiled
def coded_coordinates(spread: np.ndarray, more: int) -> int:
    """How many first coordinates hold all that a row codes.

    By their spreads int64 (d,) and what the row adds to them.
    """
    active = len(spread)
    while active and spread[active - 1] + more <= 0:
        active -= 1
    return active


@compiled
def high_part(index: int, low: int) -> int:
    """What remains of an index without its low bits.

    Rounded so that an index and its negative are alike.
    """
    return (index + (1 << low >> 1)) >> low


@compiled
def raw_part(index: int, low: int) -> int:
    """The low bits themselves, in [0, 2^low)."""
    return (index + (1 << low >> 1)) & ((1 << low) - 1)


@compiled
def joined(high: int, raw: int, low: int) -> int:
    """The index that has these parts."""
    return (high << low) + raw - (1 << low >> 1)


def expected(quantiser: int, table: int) -> np.ndarray:
    """Chances of index 0, 1, ...

    (each sign) for a Laplace source of the class's spread: what tables start from.
    """
    edges = np.array([level(k, quantiser) for k in range(WIDEST[table] + 2)], dtype=float)
    edges = (edges[1:] + edges[:-1]) / 2
    # In units of half a quantiser's step, as levels are.
    scale = 2 * 2 ** ((table - UNIT) / OCTAVE) / 2**0.5
    above = 0.5 * np.exp(-np.concatenate([edges, [np.inf]]) / scale)
    return np.concatenate([[1 - 2 * above[0]], above[:-2] - above[1:-1]])


def fit_frequencies(counts: np.ndarray, prior: float = 30.0) -> Tensor:
    """Stored frequencies out of counts (2, CLASSES, WIDTH) of indices by quantiser and class: int16
    (2, COUNT).

    `prior` is the number of observations that the expected chances stand for.
    """
    stored = []
    middle = WIDTH // 2
    for quantiser in (0, 1):
        for table in range(1, CLASSES):
            size = WIDEST[table] + 1
            both = counts[quantiser, table, middle:] + counts[quantiser, table, middle::-1]
            seen = np.concatenate([both[:1] / 2, both[1:size] / 2])
            chance = seen + prior * expected(quantiser, table)
            chance /= chance[0] + 2 * chance[1:].sum()
            # Each index gets a slot at least, and 0 what is left over.
            sizes = 1 + np.floor(chance[1:] * ((1 << PRECISION) - 2 * size)).astype(np.int64)
            stored.append(np.concatenate([[(1 << PRECISION) - 2 * sizes.sum()], sizes]))
    return torch.from_numpy(np.concatenate(stored).astype(np.int16)).view(2, COUNT)


class IndexTables:
    """Stored frequencies spread out for coding.

    Attributes:
        frequency, start: int64 (2, CLASSES, WIDTH) by quantiser, class and index + WIDTH // 2;
        frequency 0 where an index
            cannot be coded.
        entry_frequency, entry_offset, entry_index: int16 each, by (2 x class + quantiser) x
        2^PRECISION + slot: frequency of
            the symbol that the slot belongs to, slot - frequencies below it, and its index. Small,
            to stay in the cache.
    """

    def __init__(self, stored: Tensor) -> None:
        middle = WIDTH // 2
        self.frequency = np.zeros((2, CLASSES, WIDTH), dtype=np.int64)
        self.start = np.zeros_like(self.frequency)
        self.entry_frequency, self.entry_offset, self.entry_index = np.empty(
            (3, CLASSES * 2 * SLOTS), dtype=np.int16
        )
        for quantiser in (0, 1):
            place = 0
            for table in range(CLASSES):
                size = WIDEST[table] + 1
                sizes = np.array([SLOTS])
                if table:
                    sizes = stored[quantiser, place : place + size].numpy().astype(np.int64)
                    place += size
                # 0, 1, -1, 2, -2, ...: a run of zeros from the coder's first state costs nothing.
                order = np.concatenate(
                    [[0], np.stack([np.arange(1, size), -np.arange(1, size)], 1).ravel()]
                )
                frequency = sizes[np.abs(order)]
                start = np.cumsum(frequency) - frequency
                self.frequency[quantiser, table, order + middle] = frequency
                self.start[quantiser, table, order + middle] = start
                chosen = slice((2 * table + quantiser) * SLOTS, (2 * table + quantiser + 1) * SLOTS)
                self.entry_frequency[chosen] = np.repeat(frequency, frequency)
                self.entry_offset[chosen] = np.arange(SLOTS) - np.repeat(start, frequency)
                self.entry_index[chosen] = np.repeat(order, frequency)

    def costs(self) -> np.ndarray:
        """Bits of each index, float32 (2, CLASSES, WIDTH); infinite where it cannot be coded."""
        with np.errstate(divide="ignore"):
            return (PRECISION - np.log2(self.frequency)).astype(np.float32)
