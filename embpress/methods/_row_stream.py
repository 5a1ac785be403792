"""The stream of the format `entropy_coded`, version 3: header, rows, other parts."""

from typing import NamedTuple

import numpy as np
from torch import Tensor

from ..formats.entropy_coded import HEADER_WORDS, WORD
from ..numerics.row_coding import UNIT_BITS, append_words
from ..numerics.row_records import RowRecords, encode_records
from ..numerics.word_parts import number_words


class RowsCode(NamedTuple):
    """The code of a block of n rows."""

    parts: list[np.ndarray]
    """uint16, words of the parts of the block that threads coded, in order."""
    lengths: list[np.ndarray]
    """int64, lengths of the rows of each part in units of UNIT_BITS bits."""
    coded: int
    """Number of indices that a table codes."""

    @property
    def length(self) -> np.ndarray:
        """Lengths of all rows (n,) in units."""
        return np.concatenate(self.lengths)

    @property
    def bits(self) -> int:
        """Bits of all rows."""
        return UNIT_BITS * int(self.length.sum())


class RowStream:
    """Writes blocks of rows, then basis, references and records.

    Args:
        stream: uint8, the stream to fill.
        parts: uint16, words of the basis, and of the references.
    """

    def __init__(self, stream: Tensor, parts: list[np.ndarray]) -> None:
        stream.zero_()
        self.words = stream[: len(stream) // 2 * 2].numpy().view(np.uint16)
        self.parts = parts
        self.end = HEADER_WORDS * WORD
        self.norms: list[np.ndarray] = []
        self.lengths: list[np.ndarray] = []

    def append(self, code: RowsCode, norm_class: np.ndarray) -> bool:
        """Write the next rows, of norm classes (n,); returns False if they do not fit."""
        if self.end + code.bits > WORD * len(self.words):
            return False
        for part, length in zip(code.parts, code.lengths):
            self.end = append_words(self.words, self.end, part, UNIT_BITS * int(length.sum()))
        self.norms.append(norm_class)
        self.lengths.extend(code.lengths)
        return True

    def finish(self, tier: Tensor) -> bool:
        """Write the other parts of rows of tiers (n,); returns False if they do not fit.

        Tiers are in the order in which rows were appended.
        """
        records = encode_row_records(tier, self.norms, self.lengths)
        last = np.concatenate([*self.parts, records])
        first = len(self.words) - len(last)
        if self.end > WORD * first:
            return False
        self.words[first:] = last
        numbers = [number_words(len(part)) for part in (records, *self.parts)]
        self.words[:HEADER_WORDS] = np.concatenate(numbers)
        return True


def encode_row_records(
    tier: Tensor, norms: list[np.ndarray], lengths: list[np.ndarray]
) -> np.ndarray:
    """Words of the records of rows of tiers (n,), whose norms and lengths are in parts."""
    return encode_records(RowRecords(tier.numpy(), np.concatenate(norms), np.concatenate(lengths)))
