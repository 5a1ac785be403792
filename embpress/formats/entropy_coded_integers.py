"""Entropy-coded integers on a grid whose step depends on row and column: the code of layers."""

from typing import Any, NamedTuple

import numpy as np
import torch
from torch import Tensor

from ..numerics.adaptive_coding import NO_STATES, Probabilities, decode_matrix, encode_matrix
from ..numerics.index_tables import CLASSES, UNIT
from ..numerics.trellis_feedback import path_levels
from ..numerics.word_parts import NUMBER_WORDS, PartReader, join_parts, number_words
from ._base import CompressedMatrix

PART = 1 << 19
"""Integers coded at once: bounds the encoder's memory to some hundred bytes an integer."""
SHIFT_UNIT = 128
"""Shifts of decoded levels are stored in units of 1 / SHIFT_UNIT steps."""
PER_OCTAVE = 4
"""Exponents are in quarter octaves, as spread classes are."""
SCALAR_SHIFTS = 2
"""Shifts without the trellis."""
EXPONENT_CLASS = UNIT + 2
"""Spread class with which row and column exponents are coded; their probabilities are learned."""
LARGEST_EXPONENT = 256
"""Exponents are within +-LARGEST_EXPONENT; larger ones are a damaged stream."""


class GridScales(NamedTuple):
    """Exponents of rows and columns, in quarter octaves: int64 arrays."""

    row_step: np.ndarray
    """(n,): the steps of row i are 2^(row_step_i / 4) times the stored step."""
    column_step: np.ndarray
    """(d,): the same for columns."""
    row_spread: np.ndarray
    """(n,): expected standard deviation of the weights of each row, relative to the others."""
    column_spread: np.ndarray
    """(d,): the same for columns."""

    @property
    def row_class(self) -> np.ndarray:
        """(n,): what rows add to the spread classes of their integers."""
        return self.row_spread - self.row_step

    @property
    def column_class(self) -> np.ndarray:
        """(d,): what columns add to the spread classes of their integers."""
        return self.column_spread - self.column_step


class Level(NamedTuple):
    """Numbers that all entries share."""

    step: float
    """Step of exponents 0."""
    offset: int
    """What is added to all spread classes."""
    shift: np.ndarray
    """int8 (2,), or (4,) with the trellis, shifts in units of 1 / SHIFT_UNIT steps."""


class EntropyCodedIntegers(CompressedMatrix):
    """W_ij = mean_j + step 2^((row_step_i + column_step_j) / 4) (z_ij + sign(z_ij) shift).

    Stored are the mean row, if there is one, the step, an offset of the spread classes, the shifts
    of levels with |z| = 1 and |z| > 1 to the mean of what they code, and one stream of 16-bit
    words: the shape, row and column exponents, then the integers z, by parts of whole rows. Each
    part is preceded by its number of words. The code of z_ij is conditioned on its spread class
    row_spread_i + column_spread_j - row_step_i - column_step_j + offset (see `adaptive_coding`).

    With the trellis, columns are paths through it from state 0: the state of a column at a row
    gives the quantizer of z_ij, in whose levels z_ij is an index (see `numerics.trellis`), the
    tables of its code, and its shifts.

    Rows are decoded once, in `prepare`, and then take the memory of a dense matrix: layers multiply
    by all rows at every call.
    """

    format = "entropy_coded_integers"

    def __init__(
        self,
        shape: tuple[int, int],
        stream_bytes: int,
        has_mean: bool = False,
        has_trellis: bool = False,
    ) -> None:
        super().__init__(shape)
        self.stream_bytes = stream_bytes
        self.has_mean = has_mean
        self.has_trellis = has_trellis
        self.mean: Tensor
        self.step: Tensor
        self.offset: Tensor
        self.shift: Tensor
        self.stream: Tensor
        self.decoded: Tensor
        self.register_buffer("mean", torch.zeros(shape[1] if has_mean else 0, dtype=torch.half))
        self.register_buffer("step", torch.zeros(1))
        self.register_buffer("offset", torch.zeros(1, dtype=torch.int16))
        self.register_buffer("shift", torch.zeros(4 if has_trellis else 2, dtype=torch.int8))
        self.register_buffer("stream", torch.zeros(stream_bytes, dtype=torch.uint8))
        self.register_buffer("decoded", None, persistent=False)

    @classmethod
    def encode(
        cls,
        values: np.ndarray,
        scales: GridScales,
        level: Level,
        mean: Tensor | None = None,
    ) -> "EntropyCodedIntegers":
        """Code integers, indices of the trellis if the level has four shifts.

        Args:
            values: int32 (n, d), the integers z.
            scales: exponents of rows and columns.
            level: step, offset and shifts.
            mean: (d,), added to every row.
        """
        has_trellis = len(level.shift) > SCALAR_SHIFTS
        words = encode_words(values, scales, level.offset, has_trellis)
        shape = (values.shape[0], values.shape[1])
        matrix = cls(shape, 2 * len(words), mean is not None, has_trellis)
        if mean is not None:
            matrix.mean.copy_(mean)
        matrix.step.fill_(level.step)
        matrix.offset.fill_(level.offset)
        matrix.shift.copy_(torch.from_numpy(level.shift))
        matrix.stream.copy_(torch.from_numpy(words.view(np.uint8)))
        return matrix

    def config(self) -> dict[str, Any]:
        """See base class."""
        mean = {"has_mean": True} if self.has_mean else {}
        trellis = {"has_trellis": True} if self.has_trellis else {}
        return {"stream_bytes": self.stream_bytes} | mean | trellis

    def prepare(self) -> None:
        """See base class.

        Raises:
            ValueError: if lengths or exponents in the stream are inconsistent. Decoding checks
                nothing further.
        """
        if self.stream_bytes % 2:
            raise ValueError("the stream does not consist of whole words")
        words = self.stream.cpu().numpy().view(np.uint16)
        scales, values = _decode_words(words, self.shape, int(self.offset), self.has_trellis)
        shift = self.shift.cpu().float() / SHIFT_UNIT
        levels = torch.from_numpy(path_levels(values, shift.numpy())[0])
        row_step = torch.from_numpy(scales.row_step).div(PER_OCTAVE).exp2().float()
        column_step = torch.from_numpy(scales.column_step).div(PER_OCTAVE).exp2().float()
        levels *= (self.step.cpu() * row_step)[:, None]
        levels *= column_step
        if self.has_mean:
            levels += self.mean.cpu().float()
        self.decoded = levels.to(self.device)

    def rows(self, ids: Tensor) -> Tensor:
        """See base class."""
        return self.decoded.index_select(0, ids)

    def dense(self) -> Tensor:
        """See base class."""
        return self.decoded

    @property
    def stored_floats(self) -> None:
        """None: integers are not floats."""
        return None


def encode_words(
    values: np.ndarray, scales: GridScales, offset: int, has_trellis: bool
) -> np.ndarray:
    """The words of the stream, uint16; see `EntropyCodedIntegers`."""
    parts = []
    for exponents in scales:
        learned = Probabilities()
        one_row = exponents.astype(np.int32)[None]
        columns = np.full(len(exponents), EXPONENT_CLASS)
        parts.append(encode_matrix(one_row, _ZERO, columns, learned.entries))
    learned, states = _start(values.shape[1], has_trellis)
    row_class = scales.row_class + offset
    for start in range(0, len(values), rows_of_part(values.shape[1])):
        part = slice(start, start + rows_of_part(values.shape[1]))
        classes = (row_class[part], scales.column_class)
        parts.append(encode_matrix(values[part], *classes, learned.entries, states))
    return np.concatenate([*map(number_words, values.shape), join_parts(parts)])


_ZERO = np.zeros(1, dtype=np.int64)


def rows_of_part(d: int) -> int:
    """Rows of d integers that are coded at once."""
    return max(1, PART // d)


def _start(d: int, has_trellis: bool) -> tuple[Probabilities, np.ndarray]:
    """Probabilities and states of columns before the first row."""
    if has_trellis:
        return Probabilities(2 * CLASSES), np.zeros(d, dtype=np.int64)
    return Probabilities(), NO_STATES


def _decode_words(
    words: np.ndarray, shape: tuple[int, int], offset: int, has_trellis: bool
) -> tuple[GridScales, np.ndarray]:
    """Decode what `encode_words` encoded: exponents, and int32 (n, d).

    Raises:
        ValueError: if the stream is of another shape, a part does not fit into it, or an exponent
            is too large.
    """
    n, d = shape
    # Compared before memory is allocated for a shape that an altered header gives.
    if words[: 2 * NUMBER_WORDS].tolist() != [w for s in shape for w in (s & 0xFFFF, s >> 16)]:
        raise ValueError("the stream is of a matrix of another shape")
    reader = PartReader(words[2 * NUMBER_WORDS :], "the matrix")
    exponents = []
    for count in (n, d, n, d):
        learned = Probabilities()
        columns = np.full(count, EXPONENT_CLASS)
        row = decode_matrix(reader.next_part(), _ZERO, columns, learned.entries)[0]
        if np.abs(row).max() > LARGEST_EXPONENT:
            raise ValueError("the stream has an exponent out of range")
        exponents.append(row.astype(np.int64))
    scales = GridScales(*exponents)
    learned, states = _start(d, has_trellis)
    row_class = scales.row_class + offset
    values = np.empty(shape, dtype=np.int32)
    for start in range(0, n, rows_of_part(d)):
        part = slice(start, start + rows_of_part(d))
        classes = (row_class[part], scales.column_class)
        values[part] = decode_matrix(reader.next_part(), *classes, learned.entries, states)
    if len(reader.rest):
        raise ValueError("the stream is longer than its parts")
    return scales, values
