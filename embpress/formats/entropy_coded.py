"""Rows as entropy-coded indices of a trellis-coded quantiser, in coordinates of a basis of their own."""

from typing import Any

import numpy as np
import torch
from torch import Tensor

from .. import bits, entropy_coding
from ..index_tables import CLASSES, COUNT, IndexTables, coded_coordinates, joined, split_class
from ..trellis import NEXT, level
from .base import CompressedMatrix, row_block

TIER_BITS, NORM_BITS = 5, 5
"""Bits of a row's tier (its step is 2^(-tier / 2) of the first's) and of its norm's class (quarter octaves)."""

SHIFT_UNIT = 128
"""Shifts of decoded levels are stored in this part of half a quantiser's step."""


class EntropyCoded(CompressedMatrix):
    """Row i = mean + step 2^(-tier_i / 2) sum_j level_ij b_j.

    Stored are the basis (integers of `basis_bits` bits; columns b_j are scaled to length 1), the mean, each coordinate's
    spread in quarter octaves, frequencies of indices by class, by how much a level is shifted to the mean of what it stands
    for, and one stream: of each row its tier, its norm's class and its number of 16-bit words, packed; then the rows' words.
    A row's words are the raw low bits of its wide coordinates, then the rANS code of all else. A coordinate's class is
    spread_j + 2 tier_i + norm_i + offset.
    """

    format = "entropy_coded"

    def __init__(self, shape: tuple[int, int], basis_bits: int, stream_bytes: int, length_bits: int = 1) -> None:
        super().__init__(shape)
        self.basis_bits, self.stream_bytes, self.length_bits = basis_bits, stream_bytes, length_bits
        d = shape[1]
        self.basis: Tensor
        self.mean: Tensor
        self.spread: Tensor
        self.offset: Tensor
        self.step: Tensor
        self.frequencies: Tensor
        self.shift: Tensor
        self.stream: Tensor
        self.register_buffer("basis", torch.zeros(bits.packed_bytes(d * d, basis_bits), dtype=torch.uint8))
        self.register_buffer("mean", torch.zeros(d))
        self.register_buffer("spread", torch.zeros(d, dtype=torch.uint8))
        self.register_buffer("offset", torch.zeros(1, dtype=torch.int16))
        self.register_buffer("step", torch.zeros(1))
        self.register_buffer("frequencies", torch.zeros(2, COUNT, dtype=torch.int16))
        # By quantiser, class, and whether the index is 1 or larger.
        self.register_buffer("shift", torch.zeros(2, CLASSES, 2, dtype=torch.int8))
        self.register_buffer("stream", torch.zeros(stream_bytes, dtype=torch.uint8))

    def config(self) -> dict[str, Any]:
        """See base class."""
        return {"basis_bits": self.basis_bits, "stream_bytes": self.stream_bytes, "length_bits": self.length_bits}

    @property
    def info_bytes(self) -> int:
        """Bytes of the stream before the words; even, so that words are aligned."""
        return info_bytes(self.shape[0], self.length_bits)

    def prepare(self) -> None:
        """See base class."""
        info = bits.gather(self.stream, torch.arange(self.shape[0]), TIER_BITS + NORM_BITS + self.length_bits)
        self.tier = info & (1 << TIER_BITS) - 1
        self.norm = info >> TIER_BITS & (1 << NORM_BITS) - 1
        self.length = (info >> TIER_BITS + NORM_BITS).numpy()
        self.first = np.cumsum(self.length) - self.length
        n_words = (self.stream_bytes - self.info_bytes) // 2
        self.words = self.stream[self.info_bytes :][: 2 * n_words].numpy().view(np.uint16)
        self.columns = unit_columns(self.basis, self.shape[1], self.basis_bits)
        self.tables = IndexTables(self.frequencies)

    def rows(self, ids: Tensor) -> Tensor:
        """See base class."""
        spread = self.spread.long()[:, None] + (2 * self.tier[ids] + self.norm[ids] + int(self.offset))
        table, low = split_class(spread)
        active = coded_coordinates(table)
        table, low = table[:active], low[:active]
        index, quantiser = self._decode(ids.numpy(), table.numpy(), low)
        levels = level(index, quantiser) + index.sign() * self.shift[quantiser, table, (index.abs() > 1).long()] / SHIFT_UNIT
        steps = self.step * torch.exp2(-self.tier[ids] / 2)
        return torch.addmm(self.mean, (levels * steps).T, self.columns[:, :active].T)

    def _decode(self, ids: np.ndarray, table: np.ndarray, low: Tensor) -> tuple[Tensor, Tensor]:
        """Indices and quantisers, int64 (active, n), of the first coordinates of some rows."""
        raw, raw_words = self._raw_bits(ids, low)
        first, length = self.first[ids] + raw_words, self.length[ids] - raw_words
        # The parity that moves the trellis on is that of the raw bits where there are any, else that of the coded part.
        raw_parity = joined(torch.zeros_like(raw), raw, low).numpy() & 1
        coded = (low == 0).numpy().astype(np.int64)
        bases = (2 * table) << entropy_coding.PRECISION
        states = np.zeros((len(table) + 1, len(ids)), dtype=np.int64)
        high, transitions, entry_index = np.empty(table.shape, dtype=np.int64), NEXT.numpy(), self.tables.entry_index

        def look_up(j: int, slot: np.ndarray) -> np.ndarray:
            entry = bases[j] + ((states[j] & 1) << entropy_coding.PRECISION) + slot
            high[j] = entry_index[entry]
            states[j + 1] = transitions[states[j], high[j] & coded[j] ^ raw_parity[j]]
            return entry

        tables = self.tables
        entropy_coding.decode(self.words, first, length, len(table), look_up, tables.entry_frequency, tables.entry_offset)
        return joined(torch.from_numpy(high), raw, low), torch.from_numpy(states[:-1] & 1)

    def _raw_bits(self, ids: np.ndarray, low: Tensor) -> tuple[Tensor, np.ndarray]:
        """Raw low bits (active, n), and how many words they take in each row."""
        ends = low.cumsum(0)
        if not len(low) or not bool(ends[-1].any()):
            return torch.zeros_like(low), np.zeros(len(ids), dtype=np.int64)
        place = (ends - low).numpy() + 16 * self.first[ids]
        word, last = place >> 4, len(self.words) - 1
        pair = (
            self.words[np.minimum(word, last)].astype(np.int64)
            | self.words[np.minimum(word + 1, last)].astype(np.int64) << 16
        )
        return torch.from_numpy(pair >> (place & 15)) & ((1 << low) - 1), (ends[-1].numpy() + 15) // 16

    @property
    def stored_floats(self) -> None:
        """Indices are no floats: the papers' count does not apply."""
        return None


def info_bytes(n_rows: int, length_bits: int) -> int:
    """Bytes of tiers, norms and lengths, rounded up to whole words."""
    return -(-n_rows * (TIER_BITS + NORM_BITS + length_bits) // 16) * 2


def unit_columns(packed: Tensor, d: int, width: int) -> Tensor:
    """The basis (d, d): columns of length 1 out of packed integers."""
    whole = torch.empty(d, d)
    for rows in torch.arange(d).split(row_block(d)):  # positions alone would take 8 times the bytes of the result
        whole[rows] = (bits.gather(packed, rows[:, None] * d + torch.arange(d), width) - (1 << width - 1)).float()
    length = torch.linalg.vector_norm(whole, dim=0, dtype=torch.float64).clamp_min(1e-12)
    for block in whole.split(row_block(d)):
        block.copy_(block.double() / length)
    return whole
