"""Orthogonal matrices as products of rounded Householder reflections, entropy-coded.

Column k of an orthogonal (d, d) matrix is given by d - k - 1 numbers once the columns before it are
known: half of all entries follow from the others. With reflections the matrix is exactly orthogonal
however roughly these numbers are rounded. Each reflection is chosen after the ones before were
rounded: it maps the axis k to what is left of column k in the complement of the earlier columns.

Reflection k is I - tau v v^T with v = (0, ..., 0, 1, w), tau = 2 / v^T v. The numbers w are rounded
to multiples of the column's step, 2^(exponent / 4), and coded with learned probabilities (see
`adaptive_coding`), in a class by their expected size, 1 / sqrt(d - k).
"""

import numpy as np
from scipy.linalg import lapack

from .adaptive_coding import Probabilities, decode_matrix, encode_matrix
from .compiled import compiled
from .index_tables import OCTAVE, UNIT
from .word_parts import PartReader, join_parts

FINEST, COARSEST = -64, 32
"""Range of exponents: steps from 2^-16, which float32 columns need, to one that rounds all to 0."""
PART = 1 << 19
"""Numbers coded at once: bounds the memory to some hundred bytes a number."""
_ZERO = np.zeros(1, dtype=np.int64)


@compiled
def round_reflections(axes: np.ndarray, exponents: np.ndarray) -> np.ndarray:
    """Round the reflections of an orthogonal matrix.

    Args:
        axes: float64 (d, d), whose rows are the columns of the matrix; changed.
        exponents: int64 (d,), of the columns' steps.

    Returns:
        int32 (d, d), entries j > k of row k are the multiples of column k; others are 0.
    """
    d = len(axes)
    codes = np.zeros((d, d), dtype=np.int32)
    v = np.empty(d)
    for k in range(d - 1):
        step = 2.0 ** (exponents[k] / OCTAVE)
        length = 0.0
        for j in range(k, d):
            length += axes[k, j] ** 2
        # At least 1, so that no entry of v is above 1.
        scale = axes[k, k] + (1 if axes[k, k] >= 0 else -1) * max(np.sqrt(length), 1e-12)
        v[k] = 1
        square = 1.0
        for j in range(k + 1, d):
            codes[k, j] = int(np.rint(axes[k, j] / scale / step))
            v[j] = codes[k, j] * step
            square += v[j] ** 2
        for i in range(k + 1, d):
            dot = 0.0
            for j in range(k, d):
                dot += axes[i, j] * v[j]
            dot *= 2 / square
            for j in range(k, d):
                axes[i, j] -= dot * v[j]
    return codes


def orthogonal_columns(codes: np.ndarray, exponents: np.ndarray) -> np.ndarray:
    """The matrix of rounded reflections, float64 (d, d); arguments as of `round_reflections`."""
    reflectors = codes * np.exp2(exponents[:, None] / OCTAVE)
    tau = 2 / (1 + np.square(reflectors).sum(1))
    # With the last reflection, which has no numbers, the identity.
    tau[-1] = 0
    columns, _, _ = lapack.dorgqr(reflectors.T, tau, overwrite_a=True)
    return np.asarray(columns)


def encode_basis(codes: np.ndarray, exponents: np.ndarray) -> np.ndarray:
    """Words of rounded reflections, uint16: of the exponents, then of the numbers.

    Each part is preceded by its number of words.
    """
    steps = np.diff(exponents, prepend=0).astype(np.int32)[None]
    learned = Probabilities()
    step_class = np.full(len(codes), UNIT)
    parts = [encode_matrix(steps, _ZERO, step_class, learned.entries)]
    learned = Probabilities()
    for place in _parts(len(codes)):
        classes = _classes(exponents, place)
        parts.append(encode_matrix(codes[place][None], _ZERO, classes, learned.entries))
    return join_parts(parts)


def decode_basis(words: np.ndarray, d: int) -> np.ndarray:
    """The (d, d) matrix that `encode_basis` encoded, float64.

    Raises:
        ValueError: if a part is longer than the words, or an exponent is out of range. Other damage
            gives another orthogonal matrix.
    """
    reader = PartReader(words, "the basis")
    learned = Probabilities()
    steps = decode_matrix(reader.next_part(), _ZERO, np.full(d, UNIT), learned.entries)[0]
    exponents = np.cumsum(steps.astype(np.int64))
    if exponents.min() < FINEST or exponents.max() > COARSEST:
        raise ValueError("a step of the basis is out of range: the stream is damaged")
    codes = np.zeros((d, d), dtype=np.int32)
    learned = Probabilities()
    for place in _parts(d):
        classes = _classes(exponents, place)
        part = decode_matrix(reader.next_part(), _ZERO, classes, learned.entries)
        codes[place] = part[0]
    return orthogonal_columns(codes, exponents)


def _parts(d: int) -> list[tuple[np.ndarray, np.ndarray]]:
    """Places (k, j), j > k, of the numbers of each part, whole columns after each other."""
    columns = max(1, PART // d)
    parts = []
    for start in range(0, d - 1, columns):
        k, j = np.nonzero(np.arange(start, min(start + columns, d - 1))[:, None] < np.arange(d))
        parts.append((k + start, j))
    return parts


def _classes(exponents: np.ndarray, place: tuple[np.ndarray, np.ndarray]) -> np.ndarray:
    """Spread classes of the numbers at places, int64 (n,)."""
    d = len(exponents)
    size = np.round(OCTAVE / 2 * np.log2(d - np.arange(d))).astype(np.int64)
    return (UNIT - exponents - size)[place[0]]
