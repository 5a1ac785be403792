"""Rows of samples as indices of the trellis-coded quantiser, and those as words: what an encoder
does to each row.

The decoder's side is in `embpress.formats.entropy_coded`.
"""

from typing import NamedTuple

import numpy as np

from .compiled import compiled
from .entropy_coding import encode, most_words
from .index_tables import (
    CLASSES,
    WIDEST,
    WIDTH,
    coded_coordinates,
    high_part,
    raw_part,
    split_class,
)
from .trellis import cheapest_path, level, nearest_size


class Quantised(NamedTuple):
    """Some rows of samples as indices."""

    samples: np.ndarray
    """float32 (n, d) coordinates in half steps of the quantiser."""
    norm: np.ndarray
    """int64 (n,) classes of the rows' norms."""
    more: np.ndarray
    """int64 (n,) what each row adds to its coordinates' classes."""
    indices: np.ndarray
    """int64 (n, d)."""
    quantisers: np.ndarray
    """uint8 (n, d)."""


@compiled
def quantise_rows(found: Quantised, spread: np.ndarray, price: np.ndarray) -> None:
    """Fill indices and quantisers: the path of least squared error plus price of bits, row by row.

    Args:
        found: rows with samples and classes.
        spread: int64 (d,) classes of coordinates.
        price: float32 (2, CLASSES, WIDTH) of the coded part of each index.
    """
    d = len(spread)
    candidates = np.empty((d, 4), dtype=np.int64)
    costs = np.empty((d, 4), dtype=np.float32)
    taken = np.empty(d, dtype=np.uint8)
    branches = np.empty(d, dtype=np.uint8)
    for i in range(len(found.more)):
        active = coded_coordinates(spread, found.more[i])
        for j in range(active):
            table, low = split_class(spread[j] + found.more[i])
            most = WIDEST[table] << low
            sample = abs(found.samples[i, j])
            for branch in range(4):
                size = nearest_size(min(sample, np.float32(1 << 40)), branch)
                if (
                    size > most
                ):  # beyond the table's end its largest index of the same parity stands
                    size = most - ((most - size) & 1)
                index = size if found.samples[i, j] >= 0 else -size
                error = sample - np.float32(level(size, branch >> 1))
                candidates[j, branch] = index
                # Where a table holds no index of the parity, none was found: all of class 0, which
                # codes 0 only.
                costs[j, branch] = (
                    np.inf
                    if size < 0
                    else error * error
                    + price[branch >> 1, table, high_part(index, low) + WIDTH // 2]
                )
        cheapest_path(costs[:active], taken, branches)
        for j in range(active):
            found.indices[i, j], found.quantisers[i, j] = (
                candidates[j, branches[j]],
                branches[j] >> 1,
            )
        found.indices[i, active:], found.quantisers[i, active:] = 0, 0


@compiled
def encode_rows(
    found: Quantised, spread: np.ndarray, frequency: np.ndarray, start: np.ndarray
) -> tuple[np.ndarray, np.ndarray, int]:
    """Words of all rows, the number of words of each, and how many indices are coded.

    A row's words are the low bits of its wide coordinates, then the code of all else.
    """
    n, d = found.indices.shape
    most_low = max(0, split_class(spread.max() + found.more.max())[1])
    words = np.empty(n * (d * most_low // 16 + 1 + most_words(d)), dtype=np.uint16)
    lengths = np.empty(n, dtype=np.int64)
    frequencies = np.empty(d, dtype=np.int64)
    starts = np.empty(d, dtype=np.int64)
    done = coded = 0
    for i in range(n):
        active = coded_coordinates(spread, found.more[i])
        raw = 0
        n_bits = 0
        first = done
        for j in range(active):
            table, low = split_class(spread[j] + found.more[i])
            index = int(found.indices[i, j])
            quantiser = found.quantisers[i, j]
            place = high_part(index, low) + WIDTH // 2
            frequencies[j], starts[j] = (
                frequency[quantiser, table, place],
                start[quantiser, table, place],
            )
            coded += table > 0
            raw |= raw_part(index, low) << n_bits
            n_bits += low
            while n_bits >= 16:
                words[done] = raw & 0xFFFF
                done = done + 1
                raw = raw >> 16
                n_bits = n_bits - 16
        if n_bits:
            words[done] = raw
            done += 1
        done += encode(frequencies[:active], starts[:active], words[done:])
        lengths[i] = done - first
    return words[:done].copy(), lengths, coded


@compiled
def tally_rows(found: Quantised, spread: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """How often each coded part stands in each table, and by how much samples are larger than their
    levels.

    Returns:
        Counts (2, CLASSES, WIDTH) by quantiser, table and coded part; and of indices other than 0
        sum and number of excesses in half steps, (2, 2, CLASSES, 2) by quantiser, table and whether
        the index is larger than 1.
    """
    counts = np.zeros((2, CLASSES, WIDTH))
    excess = np.zeros((2, 2, CLASSES, 2))
    for i in range(len(found.more)):
        for j in range(coded_coordinates(spread, found.more[i])):
            table, low = split_class(spread[j] + found.more[i])
            index = int(found.indices[i, j])
            quantiser = found.quantisers[i, j]
            counts[quantiser, table, high_part(index, low) + WIDTH // 2] += 1
            if index:
                larger = int(abs(index) > 1)
                excess[0, quantiser, table, larger] += abs(found.samples[i, j]) - abs(
                    level(index, quantiser)
                )
                excess[1, quantiser, table, larger] += 1
    return counts, excess
