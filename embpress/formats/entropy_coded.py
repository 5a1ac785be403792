"""Rows as entropy-coded indices of a trellis-coded quantizer, in a stored basis."""

from typing import Any

import numpy as np
import torch
from torch import Tensor

from ..errors import UserError
from ..numerics import bits
from ..numerics.index_tables import CLASSES, COUNT, IndexTables
from ..numerics.orthogonal_basis import decode_basis
from ..numerics.row_coding import UNIT_BITS
from ..numerics.row_decoding import StoredRows, decode_rows, level_tables
from ..numerics.row_records import RowRecords, decode_records
from ..numerics.row_references import GAINS, RowReferences, decode_references
from ..numerics.trellis import STATES, transitions
from ..numerics.word_parts import NUMBER_WORDS
from ._base import ROW_BLOCK, CompressedMatrix

TIER_BITS = 5
"""Bits of a row's tier: the row's step is 2^(-tier / 2) times the stored step."""
NORM_BITS = 5
"""Bits of the class of a row's norm, in quarter octaves."""

BASIS_BLOCK = 64
"""Rows of the basis unpacked at once."""

WORD = 16
"""Bits of a word."""
HEADER_WORDS = 3 * NUMBER_WORDS
"""Words of the header of a stream of version 3."""
STATES_OF_VERSION = {1: 8, 2: STATES, 3: STATES}
"""States of the trellis by version of the stream."""


class EntropyCoded(CompressedMatrix):
    """Row i = mean + step 2^(-tier_i / 2) sum_j level_ij b_j.

    Stored are:

    - the mean; the basis, whose columns are b_j. Version 3 codes its reflections in the stream (see
      `embpress.numerics.orthogonal_basis`). Versions 1 and 2 store integers of `basis_bits` bits,
      whose columns are scaled to length 1. Without a basis b_j are the unit vectors;
    - the step, and the spread class of each coordinate, in quarter octaves;
    - the frequencies of indices by class, and the shift of each level to the mean of its samples;
    - one stream of 16-bit words, whose bits are read from the lowest. Version 3: the numbers of
      words of the rows' records, the basis and the references, in two words each, where 0 words
      stand for no basis and no references; the rows that have no reference, then the others, each a
      multiple of UNIT_BITS bits; at the end of the stream basis, references and records. Records
      are tier, norm class and length of each row, in the order of rows in the stream (see
      `embpress.numerics.row_records`). Version 2: the same without basis and references and their
      numbers. Version 1: packed tier, norm class and number of words of each row; then the rows.

    A row with a reference is coded as what it differs from gain times the other row, both without
    the mean (see `embpress.numerics.row_references`): this product is added to the sum above.

    A row's bits are the raw low bits of its coordinates, then the rANS code of the rest: the
    highest bits of the coder's state, then 16 bits whenever the state needs them. In version 1 both
    parts are whole words. The trellis has 8 states in version 1, and STATES in later ones. The
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
        # Unit columns of the basis.
        self.columns: Tensor | None
        self.register_buffer("columns", None, persistent=False)

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
        self.references = RowReferences.none(self.shape[0])
        records = self._records() if self.version > 1 else self._records_of_version_1()
        # In bits; version 1 counts words.
        length = records.length * (UNIT_BITS if self.version > 1 else WORD)
        first = self.start + np.cumsum(length) - length
        if self.start + length.sum() > self.stop:
            raise ValueError("the rows are longer than the stream")
        # From the order in the stream to that of ids.
        place = self.references.order.argsort()
        self.length, self.first = length[place], first[place]
        records = RowRecords(*(values[place] for values in records))
        self.class_offset = records.spread_class + int(self.offset)
        self.tables = IndexTables(self.frequencies.cpu())
        self.row_step = self.step.cpu() * torch.exp2(-torch.from_numpy(records.tier) / 2)
        self.stored_rows = StoredRows(
            self.words,
            self.first,
            self.length,
            self.class_offset,
            self.row_step.numpy(),
            (self.references.gain / GAINS).astype(np.float32),
            self.references.row,
            WORD if self.version == 1 else 1,
        )
        self.level_tables = level_tables(
            self.spread.cpu().numpy().astype(np.int64),
            self.tables.symbols,
            self.tables.intervals,
            self.shift.cpu().numpy(),
            transitions(STATES_OF_VERSION[self.version]) * (not self.scalar),
        )
        if len(self.coded_basis):
            columns = decode_basis(self.coded_basis, self.shape[1])
            self.columns = torch.from_numpy(columns).float().to(self.device)
        elif self.basis_bits:
            self.columns = unit_columns(self.basis, self.shape[1], self.basis_bits)

    def _records(self) -> RowRecords:
        """Records of the rows; also sets words, basis, references, first and last bit of rows."""
        even = self.stream.cpu()[: self.stream_bytes // 2 * 2]
        self.words = even.numpy().view(np.uint16)
        header = HEADER_WORDS if self.version > 2 else NUMBER_WORDS
        if len(self.words) < header:
            raise ValueError("the stream is shorter than its header")
        numbers = self.words[:header].astype(np.int64).reshape(-1, NUMBER_WORDS) @ (1, 1 << WORD)
        end = len(self.words) - int(numbers.sum())
        if end < header:
            raise ValueError("the parts beside the rows are longer than the stream")
        self.start, self.stop = header * WORD, end * WORD
        # Basis and references: none in version 2.
        ends = end + np.cumsum(numbers[1:])
        self.coded_basis, coded_references, coded_records = np.split(
            self.words[end:], ends - end if len(ends) else [0, 0]
        )
        self.references = decode_references(coded_references, self.shape[0])
        return decode_records(coded_records, self.shape[0])

    def _records_of_version_1(self) -> RowRecords:
        """The same of a stream of version 1."""
        stream = self.stream.cpu()
        width = TIER_BITS + NORM_BITS + self.length_bits
        info = bits.gather(stream, torch.arange(self.shape[0]), width).numpy()
        info_bytes = -(-self.shape[0] * width // WORD) * 2
        n_words = (self.stream_bytes - info_bytes) // 2
        self.words = stream[info_bytes:][: 2 * n_words].numpy().view(np.uint16)
        self.start, self.stop = 0, n_words * WORD
        self.coded_basis = self.words[:0]
        return RowRecords(
            info & (1 << TIER_BITS) - 1,
            info >> TIER_BITS & (1 << NORM_BITS) - 1,
            info >> TIER_BITS + NORM_BITS,
        )

    def rows(self, ids: Tensor) -> Tensor:
        """See base class."""
        return self._from_coordinates(self._coordinates(ids))

    def dense(self) -> Tensor:
        """See base class."""
        # All at once, so that rows that predict others are decoded once.
        rows = self._coordinates(torch.arange(self.shape[0]))
        for block in rows.split(ROW_BLOCK):
            block.copy_(self._from_coordinates(block))
        return rows

    def _coordinates(self, ids: Tensor) -> Tensor:
        """Coordinates of rows of ids (n,) in the basis: float32 (n, d)."""
        chosen = ids.cpu().numpy()
        coordinates, damaged = decode_rows(chosen, self.stored_rows, self.level_tables)
        if damaged >= 0:
            raise UserError(
                f"row {damaged} of the entropy-coded matrix is damaged: compress it again"
            )
        return torch.from_numpy(coordinates[: len(chosen)]).to(self.mean.device)

    def _from_coordinates(self, coordinates: Tensor) -> Tensor:
        """Rows of coordinates: float32 (n, d)."""
        if self.columns is None:
            return self.mean + coordinates
        return torch.addmm(self.mean, coordinates, self.columns.T)

    def decode_flops(self, n_rows: int) -> int:
        """See base class."""
        return 2 * n_rows * self.shape[1] ** 2 if self.columns is not None else 0

    @property
    def stored_floats(self) -> None:
        """None: indices are not floats."""
        return None


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
