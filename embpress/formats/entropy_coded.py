"""Rows as entropy-coded indices of a trellis-coded quantizer, in a stored basis."""

from typing import Any, NamedTuple

import numpy as np
import torch
from torch import Tensor

from ..errors import UserError
from ..numerics import bits
from ..numerics.compiled import compiled
from ..numerics.entropy_coding import PRECISION, SLOTS, init_decoder, renormalize
from ..numerics.index_tables import (
    CLASSES,
    COUNT,
    IndexTables,
    count_active,
    join_index,
    split_spread_class,
)
from ..numerics.trellis import NEXT, level
from ._base import CompressedMatrix

TIER_BITS = 5
"""Bits of a row's tier: the row's step is 2^(-tier / 2) times the stored step."""
NORM_BITS = 5
"""Bits of the class of a row's norm, in quarter octaves."""

BASIS_BLOCK = 64
"""Rows of the basis unpacked at once."""

SHIFT_UNIT = 128
"""Shifts of decoded levels are stored in units of 1 / SHIFT_UNIT half steps of the quantizer."""


class EntropyCoded(CompressedMatrix):
    """Row i = mean + step 2^(-tier_i / 2) sum_j level_ij b_j.

    Stored are:

    - the basis, integers of `basis_bits` bits, whose columns b_j are scaled to length 1; the mean.
      With 0 bits there is no basis, and b_j are the unit vectors;
    - the step, and the spread class of each coordinate, in quarter octaves;
    - the frequencies of indices by class, and the shift of each level to the mean of its samples;
    - one stream: packed tier, norm class and number of 16-bit words of each row, then the words.

    A row's words are the raw low bits of its coordinates, then the rANS code of the rest. The
    spread class of coordinate j in row i is spread_j + 2 tier_i + norm_i + offset (see
    `embpress.numerics.row_coding`).

    With `scalar` the trellis stays in its first state, whose quantizer is uniform.

    Words are decoded to levels on the CPU, from a copy of the stream that stays there. The levels
    move to the device of the buffers, where the product with the basis is computed.
    """

    format = "entropy_coded"

    def __init__(
        self,
        shape: tuple[int, int],
        basis_bits: int,
        stream_bytes: int,
        length_bits: int = 1,
        scalar: bool = False,
    ) -> None:
        super().__init__(shape)
        self.basis_bits = basis_bits
        self.stream_bytes = stream_bytes
        self.length_bits = length_bits
        self.scalar = scalar
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
        # By quantizer, class, and whether the absolute index is above 1.
        self.register_buffer("shift", torch.zeros(2, CLASSES, 2, dtype=torch.int8))
        # numpy's zeros take memory only when they are written: a fit needs the memory before.
        self.register_buffer("stream", torch.from_numpy(np.zeros(stream_bytes, dtype=np.uint8)))
        # Unit columns of the basis, and the step of each row.
        self.columns: Tensor
        self.row_step: Tensor
        self.register_buffer("columns", None, persistent=False)
        self.register_buffer("row_step", None, persistent=False)

    def config(self) -> dict[str, Any]:
        """See base class."""
        return {
            "basis_bits": self.basis_bits,
            "stream_bytes": self.stream_bytes,
            "length_bits": self.length_bits,
        } | ({"scalar": True} if self.scalar else {})

    @property
    def info_bytes(self) -> int:
        """Bytes of the stream before the words; even, so that the words are aligned."""
        return info_bytes(self.shape[0], self.length_bits)

    def prepare(self) -> None:
        """See base class.

        Raises:
            ValueError: if the rows' lengths or the frequencies are inconsistent. Decoding checks
                nothing further.
        """
        stream = self.stream.cpu()
        info = bits.gather(
            stream, torch.arange(self.shape[0]), TIER_BITS + NORM_BITS + self.length_bits
        )
        tier = info & (1 << TIER_BITS) - 1
        norm = info >> TIER_BITS & (1 << NORM_BITS) - 1
        self.length = (info >> TIER_BITS + NORM_BITS).numpy()
        self.first = np.cumsum(self.length) - self.length
        n_words = (self.stream_bytes - self.info_bytes) // 2
        if self.length.sum() > n_words:
            raise ValueError("the rows are longer than the stream")
        self.words = stream[self.info_bytes :][: 2 * n_words].numpy().view(np.uint16)
        self.class_offset = (2 * tier + norm + int(self.offset)).numpy()
        self.spread_classes = self.spread.cpu().numpy().astype(np.int64)
        self.level_shift = self.shift.cpu().numpy()
        self.tables = IndexTables(self.frequencies.cpu())
        self.row_step = self.step * torch.exp2(-tier / 2).to(self.device)
        if self.basis_bits:
            self.columns = unit_columns(self.basis, self.shape[1], self.basis_bits)

    def rows(self, ids: Tensor) -> Tensor:
        """See base class."""
        chosen = ids.cpu().numpy()
        tables = self.tables
        levels = torch.empty(len(ids), self.shape[1])
        rows = _CodedRows(
            self.words,
            self.first[chosen],
            self.length[chosen],
            self.class_offset[chosen],
        )
        damaged = _decode(
            rows,
            self.spread_classes,
            (tables.entry_frequency, tables.entry_offset, tables.entry_index),
            self.level_shift,
            np.zeros_like(NEXT) if self.scalar else NEXT,
            levels.numpy(),
        )
        if damaged >= 0:
            raise UserError(
                f"row {int(ids[damaged])} of the entropy-coded matrix is damaged: compress it again"
            )
        coordinates = levels.to(self.device) * self.row_step.index_select(0, ids)[:, None]
        if not self.basis_bits:
            return self.mean + coordinates
        return torch.addmm(self.mean, coordinates, self.columns.T)

    def decode_flops(self, n_rows: int) -> int:
        """See base class."""
        return 2 * n_rows * self.shape[1] ** 2 if self.basis_bits else 0

    @property
    def stored_floats(self) -> None:
        """None: indices are not floats."""
        return None


class _CodedRows(NamedTuple):
    """The n rows to decode."""

    words: np.ndarray
    """uint16, words of all rows of the matrix."""
    first: np.ndarray
    """int64 (n,), position of each row's first word."""
    length: np.ndarray
    """int64 (n,), number of each row's words."""
    class_offset: np.ndarray
    """int64 (n,), what each row adds to the spread classes of its coordinates."""


@compiled
def _decode(
    rows: _CodedRows,
    spread: np.ndarray,
    entries: tuple[np.ndarray, np.ndarray, np.ndarray],
    shift: np.ndarray,
    transitions: np.ndarray,
    levels: np.ndarray,
) -> int:
    """Decode the levels of rows.

    Args:
        rows: the rows to decode.
        spread: int64 (d,), spread classes of the coordinates.
        entries: frequency, offset and index by table and slot, as in `IndexTables`.
        shift: int8 (2, CLASSES, 2), added to the absolute value of a level, in units of 1 /
            SHIFT_UNIT.
        transitions: int64 (STATES, 2), next state by state and parity of the index.
        levels: float32 (n, d), output.

    Returns:
        The position of the first damaged row, whose words cannot hold its low bits; -1 if none is.
    """
    frequency, offset, entry_index = entries
    words = rows.words
    for i in range(len(rows.first)):
        class_offset = rows.class_offset[i]
        active = count_active(spread, class_offset)
        raw_bits = 0
        for j in range(active):
            raw_bits += split_spread_class(spread[j] + class_offset)[1]
        bit = 16 * rows.first[i]
        end = rows.first[i] + rows.length[i]
        start = rows.first[i] + (raw_bits + 15) // 16
        if start > end:
            return i
        code, position = init_decoder(words, start, end)
        state = 0
        for j in range(active):
            table, low = split_spread_class(spread[j] + class_offset)
            raw = 0
            if low:
                for word in range((bit + low - 1) // 16, bit // 16 - 1, -1):
                    raw = raw << 16 | int(words[word])
                raw = raw >> (bit & 15) & ((1 << low) - 1)
                bit += low
            quantizer = state & 1
            entry = (2 * table + quantizer) * SLOTS + (code & (SLOTS - 1))
            code = int(frequency[entry]) * (code >> PRECISION) + offset[entry]
            code, position = renormalize(code, words, position, end)
            index = join_index(int(entry_index[entry]), raw, low)
            state = transitions[state, index & 1]
            away = np.float32(shift[quantizer, table, int(abs(index) > 1)]) / np.float32(SHIFT_UNIT)
            if index <= 0:
                away = -away if index else np.float32(0)
            levels[i, j] = level(index, quantizer) + away
        levels[i, active:] = 0
    return -1


def info_bytes(n_rows: int, length_bits: int) -> int:
    """Bytes of tiers, norm classes and lengths of all rows, rounded up to whole words."""
    return -(-n_rows * (TIER_BITS + NORM_BITS + length_bits) // 16) * 2


def unit_columns(packed: Tensor, d: int, width: int) -> Tensor:
    """Unpack the basis, float32 (d, d), and scale its columns to length 1."""
    basis = torch.empty(d, d, device=packed.device)
    energy = torch.zeros(d, dtype=torch.float64, device=packed.device)
    columns = torch.arange(d, device=packed.device)
    # In blocks: the positions of all entries would take 8 times the bytes of the packed entries.
    for rows in columns.split(BASIS_BLOCK):
        codes = bits.gather(packed, rows[:, None] * d + columns, width)
        basis[rows] = (codes - (1 << width - 1)).float()
        energy += basis[rows].double().square().sum(0)
    length = energy.sqrt().clamp_min(1e-12)
    for block in basis.split(BASIS_BLOCK):
        block.copy_(block.double() / length)
    return basis
