"""Rows as entropy-coded indices of a trellis-coded quantizer, in a stored basis."""

from typing import Any, NamedTuple

import numpy as np
import torch
from torch import Tensor

from ..errors import UserError
from ..numerics import bits
from ..numerics.compiled import compiled
from ..numerics.entropy_coding import LOWEST, PRECISION, SLOTS
from ..numerics.index_tables import (
    CLASSES,
    COUNT,
    MIDDLE,
    IndexTables,
    count_active,
    join_index,
    split_spread_class,
)
from ..numerics.row_coding import UNIT_BITS
from ..numerics.row_records import NUMBER_WORDS, RowRecords, decode_records
from ..numerics.trellis import STATES, level, transitions
from ._base import CompressedMatrix

TIER_BITS = 5
"""Bits of a row's tier: the row's step is 2^(-tier / 2) times the stored step."""
NORM_BITS = 5
"""Bits of the class of a row's norm, in quarter octaves."""

BASIS_BLOCK = 64
"""Rows of the basis unpacked at once."""

WORD = 16
"""Bits of a word."""
STATES_OF_VERSION = {1: 8, 2: STATES}
"""States of the trellis by version of the stream."""
LANES = 4
"""Rows decoded side by side."""
SHIFT_UNIT = 128
"""Shifts of decoded levels are stored in units of 1 / SHIFT_UNIT half steps of the quantizer."""


class EntropyCoded(CompressedMatrix):
    """Row i = mean + step 2^(-tier_i / 2) sum_j level_ij b_j.

    Stored are:

    - the basis, integers of `basis_bits` bits, whose columns b_j are scaled to length 1; the mean.
      With 0 bits there is no basis, and b_j are the unit vectors;
    - the step, and the spread class of each coordinate, in quarter octaves;
    - the frequencies of indices by class, and the shift of each level to the mean of its samples;
    - one stream of 16-bit words, whose bits are read from the lowest. Version 2: the number of
      words of the rows' records, in two words; the rows, each a multiple of UNIT_BITS bits; at the
      end of the stream the records, which are tier, norm class and length of each row (see
      `embpress.numerics.row_records`). Version 1: packed tier, norm class and number of words of
      each row; then the rows.

    A row's bits are the raw low bits of its coordinates, then the rANS code of the rest: the
    highest bits of the coder's state, then 16 bits whenever the state needs them. In version 1 both
    parts are whole words. The trellis has 8 states in version 1, and STATES in version 2. The
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
        length_bits: int = 0,
        scalar: bool = False,
        version: int = 1,
    ) -> None:
        super().__init__(shape)
        if version not in STATES_OF_VERSION:
            raise ValueError(f"version {version} of entropy-coded rows is unknown: update embpress")
        self.basis_bits = basis_bits
        self.stream_bytes = stream_bytes
        self.length_bits = length_bits
        self.scalar = scalar
        self.version = version
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
        sizes = {"basis_bits": self.basis_bits, "stream_bytes": self.stream_bytes}
        versions = (
            {"length_bits": self.length_bits} if self.version == 1 else {"version": self.version}
        )
        return sizes | versions | ({"scalar": True} if self.scalar else {})

    def prepare(self) -> None:
        """See base class.

        Raises:
            ValueError: if the rows' lengths or the frequencies are inconsistent. Decoding checks
                nothing further.
        """
        records = self._records() if self.version > 1 else self._records_of_version_1()
        # In bits; version 1 counts words.
        unit = UNIT_BITS if self.version > 1 else WORD
        self.length = records.length * unit
        self.first = self.start + np.cumsum(self.length) - self.length
        if self.start + self.length.sum() > self.stop:
            raise ValueError("the rows are longer than the stream")
        tier = torch.from_numpy(records.tier)
        self.class_offset = records.spread_class + int(self.offset)
        self.spread_classes = self.spread.cpu().numpy().astype(np.int64)
        self.level_shift = self.shift.cpu().numpy()
        self.tables = IndexTables(self.frequencies.cpu())
        self.levels = _shifted_levels(self.level_shift)
        self.following = transitions(STATES_OF_VERSION[self.version]) * (not self.scalar)
        self.row_step = self.step * torch.exp2(-tier / 2).to(self.device)
        if self.basis_bits:
            self.columns = unit_columns(self.basis, self.shape[1], self.basis_bits)

    def _records(self) -> RowRecords:
        """Records of the rows; also sets the words, and the first and last bit of rows."""
        even = self.stream.cpu()[: self.stream_bytes // 2 * 2]
        self.words = even.numpy().view(np.uint16)
        if len(self.words) < NUMBER_WORDS:
            raise ValueError("the stream is shorter than its header")
        count = int(self.words[0]) | int(self.words[1]) << WORD
        last = len(self.words) - count
        if last < NUMBER_WORDS:
            raise ValueError("the records of rows are longer than the stream")
        self.start, self.stop = NUMBER_WORDS * WORD, last * WORD
        return decode_records(self.words[last:], self.shape[0])

    def _records_of_version_1(self) -> RowRecords:
        """The same of a stream of version 1."""
        stream = self.stream.cpu()
        width = TIER_BITS + NORM_BITS + self.length_bits
        info = bits.gather(stream, torch.arange(self.shape[0]), width).numpy()
        info_bytes = -(-self.shape[0] * width // WORD) * 2
        n_words = (self.stream_bytes - info_bytes) // 2
        self.words = stream[info_bytes:][: 2 * n_words].numpy().view(np.uint16)
        self.start, self.stop = 0, n_words * WORD
        return RowRecords(
            info & (1 << TIER_BITS) - 1,
            info >> TIER_BITS & (1 << NORM_BITS) - 1,
            info >> TIER_BITS + NORM_BITS,
        )

    def rows(self, ids: Tensor) -> Tensor:
        """See base class."""
        chosen = ids.cpu().numpy()
        levels = torch.empty(len(ids), self.shape[1])
        rows = _CodedRows(
            self.words,
            self.first[chosen],
            self.length[chosen],
            self.class_offset[chosen],
            WORD if self.version == 1 else 1,
        )
        damaged = _decode(
            rows,
            self.spread_classes,
            self.tables.entries,
            (self.levels, self.level_shift),
            self.following,
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
    """int64 (n,), position of each row's first bit."""
    length: np.ndarray
    """int64 (n,), number of each row's bits."""
    class_offset: np.ndarray
    """int64 (n,), what each row adds to the spread classes of its coordinates."""
    alignment: int
    """The rANS code begins at a multiple of this many bits."""


def _shifted_levels(shift: np.ndarray) -> np.ndarray:
    """Shifted levels of indices without raw bits, float32 (CLASSES, 2, 2 * MIDDLE).

    By class, quantizer and index + MIDDLE.
    """
    index = np.arange(2 * MIDDLE) - MIDDLE
    size = abs(index)
    quantizer = np.arange(2)[:, None]
    away = shift[:, :, (size > 1).astype(int)].transpose(1, 0, 2) / np.float32(SHIFT_UNIT)
    levels = np.sign(index) * (2 * size - quantizer + away)
    return np.ascontiguousarray(levels, dtype=np.float32)


@compiled
def _read_bits(words: np.ndarray, position: int, count: int) -> int:
    """Up to 16 bits from a position on."""
    word = position >> 4
    pair = int(words[word]) | int(words[min(word + 1, len(words) - 1)]) << 16
    return pair >> (position & 15) & ((1 << count) - 1)


@compiled
def _read_raw(words: np.ndarray, position: int, count: int) -> int:
    """Up to LOW_BITS bits from a position on."""
    first = min(count, 16)
    raw = _read_bits(words, position, first)
    return raw | _read_bits(words, position + 16, count - 16) << 16 if count > 16 else raw


@compiled
def _open_row(rows: _CodedRows, i: int, spread: np.ndarray, widest: int) -> tuple[int, int, int]:
    """Initial state of a row's coder, position of its next bit, and number of coded coordinates.

    The number is -1 if the row is too short for its raw bits.
    """
    active = count_active(spread, rows.class_offset[i])
    start = rows.first[i]
    if active and split_spread_class(widest + rows.class_offset[i])[1]:
        for j in range(active):
            start += split_spread_class(spread[j] + rows.class_offset[i])[1]
    start += -start % rows.alignment
    end = rows.first[i] + rows.length[i]
    if start > end:
        return 1, start, -1
    if start == end:
        return 1, start, active
    highest = (end - start - 1) % 16 + 1
    code = _read_bits(rows.words, start, highest)
    start += highest
    while code < LOWEST and start < end:
        code = code << 16 | _read_bits(rows.words, start, 16)
        start += 16
    return code, start, active


@compiled
def _decode(
    rows: _CodedRows,
    spread: np.ndarray,
    entries: np.ndarray,
    values: tuple[np.ndarray, np.ndarray],
    following: np.ndarray,
    levels: np.ndarray,
) -> int:
    """Decode the levels of rows, LANES at a time: one row's steps wait for each other.

    Args:
        rows: the rows to decode.
        spread: int64 (d,), spread classes of the coordinates.
        entries: as in `IndexTables`.
        values: levels as of `_shifted_levels`; and int8 (2, CLASSES, 2), added to the absolute
            value of a level, in units of 1 / SHIFT_UNIT.
        following: int64 (states, 2), next state by state and parity of the index.
        levels: float32 (n, d), output.

    Returns:
        The position of the first damaged row, whose bits cannot hold its low bits; -1 if none is.
    """
    shifted, shift = values
    words = rows.words
    end = rows.first + rows.length
    n, d = levels.shape
    widest = spread.max()
    code, position, state, bit = np.empty((4, LANES), dtype=np.int64)
    for first in range(0, n, LANES):
        lanes = min(LANES, n - first)
        longest = 0
        for lane in range(lanes):
            i = first + lane
            code[lane], position[lane], active = _open_row(rows, i, spread, widest)
            if active < 0:
                return i
            longest = max(longest, active)
            state[lane] = 0
            bit[lane] = rows.first[i]
        for j in range(longest):
            for lane in range(lanes):
                i = first + lane
                # Coordinates after a row's last one have table 0: index 0, without a bit.
                spread_class = spread[j] + rows.class_offset[i]
                table, low = max(spread_class, 0), 0
                if spread_class >= CLASSES:
                    table, low = split_spread_class(spread_class)
                quantizer = state[lane] & 1
                old = code[lane]
                entry = int(entries[(2 * table + quantizer) * SLOTS + (old & (SLOTS - 1))])
                new = ((entry & (SLOTS - 1)) + 1) * (old >> PRECISION)
                new += entry >> PRECISION & (SLOTS - 1)
                if new < LOWEST and position[lane] < end[i]:
                    new = new << 16 | _read_bits(words, position[lane], 16)
                    position[lane] += 16
                code[lane] = new
                index = (entry >> 2 * PRECISION) - MIDDLE
                value = shifted[table, quantizer, index + MIDDLE]
                if low:
                    raw = _read_raw(words, bit[lane], low)
                    bit[lane] += low
                    index = join_index(index, raw, low)
                    away = np.float32(shift[quantizer, table, int(abs(index) > 1)])
                    away /= np.float32(SHIFT_UNIT)
                    if index <= 0:
                        away = -away if index else np.float32(0)
                    value = level(index, quantizer) + away
                state[lane] = following[state[lane], index & 1]
                levels[i, j] = value
        levels[first : first + lanes, longest:] = 0
    return -1


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
