"""How likely each index of the trellis-coded quantiser is, by the spread of what it codes: tables for the entropy coder.

A coordinate's class is the spread that it is expected to have, in quarter octaves of the quantiser's step. Wide coordinates
give their low bits to a raw section, where they would be nearly uniform anyway, and the rest of the index to the class four
per bit lower, so that 22 tables serve every rate.
"""

import numpy as np
import torch
from torch import Tensor

from .entropy_coding import PRECISION
from .trellis import level

CLASSES = 22
"""Class c holds coordinates whose standard deviation is near 2^((c - UNIT) / OCTAVE) steps of the quantiser. What is of
class 0 or below is coded as 0 without a bit."""
UNIT, OCTAVE = 12, 4
SPREADS = 6
"""Standard deviations that every table holds, and one step more."""
LOW_BITS = 16
"""Most low bits of an index that are stored raw."""

WIDEST = [0] + [int(SPREADS * 2 ** ((c - UNIT) / OCTAVE)) + 2 for c in range(1, CLASSES)]
"""Largest index that each class codes, low bits aside."""
WIDTH = 2 * max(WIDEST) + 1
COUNT = sum(w + 1 for w in WIDEST[1:])
"""Frequencies stored for one quantiser: of index 0 and of each size above it, in all classes but 0."""


def split_class(spread: Tensor) -> tuple[Tensor, Tensor]:
    """Table and number of raw low bits for coordinates of some class, of any size: int64 of the same shape each."""
    low = ((spread - CLASSES + OCTAVE) // OCTAVE).clamp(0, LOW_BITS)
    return (spread - OCTAVE * low).clamp(0, CLASSES - 1), low


def coded_coordinates(table: Tensor) -> int:
    """How many first coordinates hold all that any row codes, by the tables (d, n) of n rows."""
    used = (table > 0).any(1).nonzero()
    return int(used[-1]) + 1 if len(used) else 0


def high_part(index: Tensor, low: Tensor) -> Tensor:
    """What remains of indices without their low bits, rounded so that an index and its negative are alike."""
    return (index + _half(low)) >> low


def raw_part(index: Tensor, low: Tensor) -> Tensor:
    """The low bits themselves, in [0, 2^low)."""
    return (index + _half(low)) & ((1 << low) - 1)


def joined(high: Tensor, raw: Tensor, low: Tensor) -> Tensor:
    """The index that has these parts."""
    return (high << low) + raw - _half(low)


def _half(low: Tensor) -> Tensor:
    return (1 << low) >> 1


def expected(quantiser: int, table: int) -> np.ndarray:
    """Chances of index 0, 1, ... (each sign) for a Laplace source of the class's spread: what tables start from."""
    edges = level(torch.arange(WIDEST[table] + 2), torch.tensor(quantiser)).double().numpy()
    edges = (edges[1:] + edges[:-1]) / 2
    # In units of half a quantiser's step, as levels are.
    scale = 2 * 2 ** ((table - UNIT) / OCTAVE) / 2**0.5
    above = 0.5 * np.exp(-np.concatenate([edges, [np.inf]]) / scale)
    return np.concatenate([[1 - 2 * above[0]], above[:-2] - above[1:-1]])


def fit_frequencies(counts: np.ndarray, prior: float = 30.0) -> Tensor:
    """Stored frequencies out of counts (2, CLASSES, WIDTH) of indices by quantiser and class: int16 (2, COUNT).

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
        frequency, start: int64 (2, CLASSES, WIDTH) by quantiser, class and index + WIDTH // 2; frequency 0 where an index
            cannot be coded.
        entry_frequency, entry_offset, entry_index: what `entropy_coding.decode` looks up, by (2 x class + quantiser) x
            2^PRECISION + slot.
    """

    def __init__(self, stored: Tensor) -> None:
        middle, slots = WIDTH // 2, 1 << PRECISION
        self.frequency = np.zeros((2, CLASSES, WIDTH), dtype=np.int64)
        self.start = np.zeros_like(self.frequency)
        entries = CLASSES * 2 * slots
        self.entry_frequency = np.empty(entries, dtype=np.int64)
        self.entry_offset = np.empty(entries, dtype=np.int64)
        self.entry_index = np.empty(entries, dtype=np.int64)
        for quantiser in (0, 1):
            place = 0
            for table in range(CLASSES):
                size = WIDEST[table] + 1
                sizes = np.array([slots])
                if table:
                    sizes = stored[quantiser, place : place + size].numpy().astype(np.int64)
                    place += size
                # 0, 1, -1, 2, -2, ...: a run of zeros from the coder's first state costs nothing.
                order = np.concatenate([[0], np.stack([np.arange(1, size), -np.arange(1, size)], 1).ravel()])
                frequency = sizes[np.abs(order)]
                start = np.cumsum(frequency) - frequency
                self.frequency[quantiser, table, order + middle] = frequency
                self.start[quantiser, table, order + middle] = start
                chosen = slice((2 * table + quantiser) * slots, (2 * table + quantiser + 1) * slots)
                self.entry_frequency[chosen] = np.repeat(frequency, frequency)
                self.entry_offset[chosen] = np.arange(slots) - np.repeat(start, frequency)
                self.entry_index[chosen] = np.repeat(order, frequency)

    def costs(self) -> Tensor:
        """Bits of each index, float32 (2, CLASSES, WIDTH); infinite where it cannot be coded."""
        with np.errstate(divide="ignore"):
            return torch.from_numpy(PRECISION - np.log2(self.frequency)).float()
