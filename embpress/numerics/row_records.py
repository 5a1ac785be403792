"""What is stored of each row beside its code: tier, norm class, and length of the code.

The three are coded with learned probabilities (see `adaptive_coding`): the tier given that of the
row before, the norm class given the tier, and of the length what it differs from the mean of rows
before of the same class, which the decoder knows too.
"""

from typing import NamedTuple

import numpy as np

from .adaptive_coding import (
    Probabilities,
    decode_matrix,
    decode_symbols,
    encode_matrix,
    encode_symbols,
)
from .compiled import compiled
from .word_parts import PartReader, join_parts

SYMBOL_BITS = 5
"""Bits of a tier and of a norm class."""
MEAN_MEMORY = 64
"""Rows over which the mean length is taken."""
FRACTION = 8
"""Bits of the fraction of a mean length."""
LONGEST = 1 << 27
"""No row has more units: a larger length is a damaged one."""


class RowRecords(NamedTuple):
    """Records of n rows, int64 (n,) each."""

    tier: np.ndarray
    norm: np.ndarray
    length: np.ndarray

    @property
    def spread_class(self) -> np.ndarray:
        """What a row adds to the spread classes of its coordinates, but for a constant."""
        return 2 * self.tier + self.norm


@compiled
def _lengths(length: np.ndarray, difference: np.ndarray, classes: np.ndarray, known: bool) -> None:
    """Fill differences from the predicted lengths if lengths are known, else lengths."""
    mean = np.full(classes.max() + 1, -1)
    seen = np.zeros(len(mean), dtype=np.int64)
    last = 0
    for i in range(len(length)):
        c = classes[i]
        predicted = mean[c] >> FRACTION if seen[c] else last
        if known:
            difference[i] = length[i] - predicted
        else:
            length[i] = min(max(difference[i] + predicted, 0), LONGEST)
        last = length[i]
        seen[c] = min(seen[c] + 1, MEAN_MEMORY)
        exact = last << FRACTION
        mean[c] = exact if seen[c] == 1 else mean[c] + (exact - mean[c]) // seen[c]


def encode_records(records: RowRecords) -> np.ndarray:
    """Words of the records, uint16."""
    n = len(records.tier)
    tables = 1 << SYMBOL_BITS
    before = np.concatenate([np.zeros(1, dtype=np.int64), records.tier[:-1]])
    difference = np.empty(n, dtype=np.int64)
    _lengths(records.length, difference, records.spread_class, True)
    parts = []
    for symbols, table in ((records.tier, before), (records.norm, records.tier)):
        learned = Probabilities(tables)
        parts.append(encode_symbols(symbols, table, SYMBOL_BITS, learned.entries))
    learned = Probabilities()
    one_row = difference.astype(np.int32)[None]
    columns = np.zeros(n, dtype=np.int64)
    parts.append(encode_matrix(one_row, _ZERO, columns, learned.entries))
    return np.concatenate([join_parts(parts[:2]), parts[2]])


def decode_records(words: np.ndarray, n: int) -> RowRecords:
    """Decode what `encode_records` encoded for n rows.

    Raises:
        ValueError: if a part is longer than the words. Other damage gives other records.
    """
    reader = PartReader(words, "the records of rows")
    parts = [reader.next_part(), reader.next_part()]
    none = np.zeros(n, dtype=np.int64)
    learned = Probabilities(1 << SYMBOL_BITS)
    tier = decode_symbols(parts[0], none, True, SYMBOL_BITS, learned.entries)
    learned = Probabilities(1 << SYMBOL_BITS)
    norm = decode_symbols(parts[1], tier, False, SYMBOL_BITS, learned.entries)
    learned = Probabilities()
    difference = decode_matrix(reader.rest, _ZERO, none, learned.entries)[0]
    length = np.empty(n, dtype=np.int64)
    _lengths(length, difference.astype(np.int64), 2 * tier + norm, False)
    return RowRecords(tier, norm, length)


_ZERO = np.zeros(1, dtype=np.int64)
