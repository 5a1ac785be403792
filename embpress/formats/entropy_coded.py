"""Rows as entropy-coded indices of a trellis-coded quantiser.

In coordinates of a basis of their own.
"""

from typing import Any

import numpy as np
import torch
from torch import Tensor

from ..errors import UserError
from ..numerics import bits
from ..numerics.compiled import compiled
from ..numerics.entropy_coding import PRECISION, SLOTS, first_state, refilled
from ..numerics.index_tables import (
    CLASSES,
    COUNT,
    IndexTables,
    coded_coordinates,
    joined,
    split_class,
)
from ..numerics.trellis import NEXT, level
from ._base import CompressedMatrix

TIER_BITS = 5
NORM_BITS = 5
"""Bits of a row's tier (its step is 2^(-tier / 2) of the first's) and of its norm's class (quarter octaves)."""

COLUMN_BLOCK = 64
"""Rows of the basis unpacked at once."""

SHIFT_UNIT = 128
"""Shifts of decoded levels are stored in this part of half a quantiser's step."""


class EntropyCoded(CompressedMatrix):
    """Row i = mean + step 2^(-tier_i / 2) sum_j level_ij b_j.

    Stored are the basis (integers of `basis_bits` bits; columns b_j are scaled to length 1), the
    mean, each coordinate's spread in quarter octaves, frequencies of indices by class, by how much
    a level is shifted to the mean of what it stands for, and one stream: of each row its tier, its
    norm's class and its number of 16-bit words, packed; then the rows' words. A row's words are the
    raw low bits of its wide coordinates, then the rANS code of all else. A coordinate's class is
    spread_j + 2 tier_i + norm_i + offset.
    """

    format = "entropy_coded"

    def __init__(
        self, shape: tuple[int, int], basis_bits: int, stream_bytes: int, length_bits: int = 1
    ) -> None:
        super().__init__(shape)
        self.basis_bits = basis_bits
        self.stream_bytes = stream_bytes
        self.length_bits = length_bits
        d = shape[1]
        self.basis: Tensor
        self.mean: Tensor
        self.spread: Tensor
        self.offset: Tensor
        self.step: Tensor
        self.frequencies: Tensor
        self.shift: Tensor
        self.stream: Tensor
        self.register_buffer(
            "basis", torch.zeros(bits.packed_bytes(d * d, basis_bits), dtype=torch.uint8)
        )
        self.register_buffer("mean", torch.zeros(d))
        self.register_buffer("spread", torch.zeros(d, dtype=torch.uint8))
        self.register_buffer("offset", torch.zeros(1, dtype=torch.int16))
        self.register_buffer("step", torch.zeros(1))
        self.register_buffer("frequencies", torch.zeros(2, COUNT, dtype=torch.int16))
        # By quantiser, class, and whether the index is 1 or larger.
        self.register_buffer("shift", torch.zeros(2, CLASSES, 2, dtype=torch.int8))
        # numpy's zeros take memory only once they are written: the fit needs it for other things
        # before.
        self.register_buffer("stream", torch.from_numpy(np.zeros(stream_bytes, dtype=np.uint8)))

    def config(self) -> dict[str, Any]:
        """See base class."""
        return {
            "basis_bits": self.basis_bits,
            "stream_bytes": self.stream_bytes,
            "length_bits": self.length_bits,
        }

    @property
    def info_bytes(self) -> int:
        """Bytes of the stream before the words; even, so that words are aligned."""
        return info_bytes(self.shape[0], self.length_bits)

    def prepare(self) -> None:
        """See base class.

        Raises:
            ValueError: if the rows' lengths or the frequencies cannot be: nothing that is decoded
                is looked at further.
        """
        info = bits.gather(
            self.stream, torch.arange(self.shape[0]), TIER_BITS + NORM_BITS + self.length_bits
        )
        self.tier = info & (1 << TIER_BITS) - 1
        self.norm = info >> TIER_BITS & (1 << NORM_BITS) - 1
        self.length = (info >> TIER_BITS + NORM_BITS).numpy()
        self.first = np.cumsum(self.length) - self.length
        n_words = (self.stream_bytes - self.info_bytes) // 2
        if self.length.sum() > n_words:
            raise ValueError("rows are longer than the stream")
        self.words = self.stream[self.info_bytes :][: 2 * n_words].numpy().view(np.uint16)
        self.columns = unit_columns(self.basis, self.shape[1], self.basis_bits)
        self.tables = IndexTables(self.frequencies)

    def rows(self, ids: Tensor) -> Tensor:
        """See base class."""
        chosen = ids.numpy()
        tables = self.tables
        levels = torch.empty(len(ids), self.shape[1])
        wrong = _decode(
            self.words,
            self.first[chosen],
            self.length[chosen],
            (2 * self.tier[ids] + self.norm[ids] + int(self.offset)).numpy(),
            self.spread.numpy().astype(np.int64),
            (tables.entry_frequency, tables.entry_offset, tables.entry_index),
            self.shift.numpy(),
            levels.numpy(),
        )
        if wrong >= 0:
            raise UserError(
                f"row {int(ids[wrong])} of the entropy-coded matrix is damaged: compress it again"
            )
        return torch.addmm(
            self.mean,
            levels * (self.step * torch.exp2(-self.tier[ids] / 2))[:, None],
            self.columns.T,
        )

    def decode_flops(self, n_rows: int) -> int:
        """See base class."""
        return 2 * n_rows * self.shape[1] ** 2

    @property
    def stored_floats(self) -> None:
        """Indices are no floats: the papers' count does not apply."""
        return None


@compiled
def _decode(
    words: np.ndarray,
    first: np.ndarray,
    length: np.ndarray,
    more: np.ndarray,
    spread: np.ndarray,
    entries: tuple[np.ndarray, np.ndarray, np.ndarray],
    shift: np.ndarray,
    levels: np.ndarray,
) -> int:
    """Levels of some rows.

    Args:
        words: uint16, all rows' words.
        first: int64 (n,), where the words of each row begin.
        length: int64 (n,), how many they are.
        more: int64 (n,), what each row adds to its coordinates' classes.
        spread: int64 (d,), the coordinates' classes.
        entries: frequency, offset and index by table and slot, as in `IndexTables`.
        shift: int8 (2, CLASSES, 2), what is added to the size of a level, in parts of SHIFT_UNIT.
        levels: float32 (n, d), filled.

    Returns:
        Which row's words cannot hold its low bits, as only a damaged one's cannot; -1 if there is
        none.
    """
    frequency, offset, entry_index = entries
    for i in range(len(first)):
        active = coded_coordinates(spread, more[i])
        raw_bits = 0
        for j in range(active):
            raw_bits += split_class(spread[j] + more[i])[1]
        bit = 16 * first[i]
        end = first[i] + length[i]
        start = first[i] + (raw_bits + 15) // 16
        if start > end:
            return i
        code, position = first_state(words, start, end)
        state = 0
        for j in range(active):
            table, low = split_class(spread[j] + more[i])
            raw = 0
            if low:
                for word in range((bit + low - 1) // 16, bit // 16 - 1, -1):
                    raw = raw << 16 | int(words[word])
                raw = raw >> (bit & 15) & ((1 << low) - 1)
                bit += low
            quantiser = state & 1
            entry = (2 * table + quantiser) * SLOTS + (code & (SLOTS - 1))
            code = int(frequency[entry]) * (code >> PRECISION) + offset[entry]
            code, position = refilled(code, words, position, end)
            index = joined(int(entry_index[entry]), raw, low)
            state = NEXT[state, index & 1]
            away = np.float32(shift[quantiser, table, int(abs(index) > 1)]) / np.float32(SHIFT_UNIT)
            levels[i, j] = level(index, quantiser) + (
                away if index > 0 else -away if index else np.float32(0)
            )
        levels[i, active:] = 0
    return -1


def info_bytes(n_rows: int, length_bits: int) -> int:
    """Bytes of tiers, norms and lengths, rounded up to whole words."""
    return -(-n_rows * (TIER_BITS + NORM_BITS + length_bits) // 16) * 2


def unit_columns(packed: Tensor, d: int, width: int) -> Tensor:
    """The basis (d, d): columns of length 1 out of packed integers."""
    whole = torch.empty(d, d)
    energy = torch.zeros(d, dtype=torch.float64)
    # Positions alone would take 8 times the bytes of what they gather, and float64 twice.
    for rows in torch.arange(d).split(COLUMN_BLOCK):
        whole[rows] = (
            bits.gather(packed, rows[:, None] * d + torch.arange(d), width) - (1 << width - 1)
        ).float()
        energy += whole[rows].double().square().sum(0)
    length = energy.sqrt().clamp_min(1e-12)
    for block in whole.split(COLUMN_BLOCK):
        block.copy_(block.double() / length)
    return whole
