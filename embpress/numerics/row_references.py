"""Code of the rows' references: a row may be predicted by a gain times another row.

Rows without a reference are roots; every reference is a root, so that a row is decoded by itself
and at most one other. Gains are multiples of 1 / GAINS; gain class 0 stands for no reference. Gain
classes are coded with learned probabilities, and so are the highest bits of a reference's position
among the roots (see `adaptive_coding`).
"""

from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor

from .adaptive_coding import (
    Probabilities,
    decode_matrix,
    decode_symbols,
    encode_matrix,
    encode_symbols,
)
from .index_tables import OCTAVE, UNIT
from .word_parts import PartReader, join_parts

GAIN_BITS = 3
GAINS = 1 << GAIN_BITS
_ZERO = np.zeros(1, dtype=np.int64)


class RowReferences(NamedTuple):
    """References of n rows, int64 (n,) each."""

    gain: np.ndarray
    """Gain class, 0 for roots."""
    row: np.ndarray
    """The root that predicts the row; of a root, the row itself."""

    @classmethod
    def none(cls, n: int) -> "RowReferences":
        """Of n rows that are all roots."""
        return cls(np.zeros(n, dtype=np.int64), np.arange(n))

    @property
    def groups(self) -> tuple[Tensor, Tensor]:
        """Ids of the roots, and of the other rows."""
        gain = torch.from_numpy(self.gain)
        return (gain == 0).nonzero().flatten(), gain.nonzero().flatten()

    @property
    def order(self) -> np.ndarray:
        """Order of the rows in the stream: the roots, then the others."""
        return np.argsort(self.gain > 0, kind="stable")


def encode_references(references: RowReferences) -> np.ndarray:
    """Words of the references, uint16; none if all rows are roots."""
    gain = references.gain
    if not gain.any():
        return np.empty(0, np.uint16)
    learned = Probabilities(1)
    none = np.zeros_like(gain)
    gains = encode_symbols(gain, none, GAIN_BITS, learned.entries)
    place = np.cumsum(gain == 0) - 1
    n_roots = int(place[-1]) + 1
    middle = (place[references.row[gain > 0]] - n_roots // 2).astype(np.int32)[None]
    learned = Probabilities()
    places = encode_matrix(middle, _ZERO, _place_classes(middle.size, n_roots), learned.entries)
    return np.concatenate([join_parts([gains]), places])


def decode_references(words: np.ndarray, n: int) -> RowReferences:
    """Decode what `encode_references` encoded for n rows.

    Raises:
        ValueError: if a part is longer than the words, or a reference is no root. Other damage
            gives other references.
    """
    if not len(words):
        return RowReferences.none(n)
    reader = PartReader(words, "the references of rows")
    learned = Probabilities(1)
    none = np.zeros(n, dtype=np.int64)
    gain = decode_symbols(reader.next_part(), none, False, GAIN_BITS, learned.entries)
    roots = np.flatnonzero(gain == 0)
    row = np.arange(n)
    if len(roots) < n:
        learned = Probabilities()
        classes = _place_classes(n - len(roots), len(roots))
        middle = decode_matrix(reader.rest, _ZERO, classes, learned.entries)[0]
        place = middle.astype(np.int64) + len(roots) // 2
        if place.min() < 0 or place.max() >= len(roots):
            raise ValueError("a row refers to no other row: the stream is damaged")
        row[gain > 0] = roots[place]
    return RowReferences(gain, row)


def _place_classes(n: int, n_roots: int) -> np.ndarray:
    """Spread classes of n positions among roots about the middle one: int64 (n,)."""
    return np.full(n, UNIT + round(OCTAVE * np.log2(max(n_roots, 1) / GAINS)))
