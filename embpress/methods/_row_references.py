"""Choice of the rows that predict others, for ECTCQ.

Rows of related strings are similar: "walk" and " walk", "walks", "Walk". The most frequent rows may
be references. Each other row has the one most similar to it, if the prediction saves more bits than
the reference takes. Rows are compared in coordinates divided by the larger of their spread and
their expected error: bits follow the squared length of such rows. The most similar row is searched
among all that may be references, in the widest coordinates.
"""

from collections.abc import Callable
from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor
from torch.nn.functional import normalize

from ..numerics.row_references import GAINS, RowReferences

SHARE = 0.4
"""Share of the rows, the most frequent ones, that may be references."""
MOST_ROOTS = 1 << 14
"""Most rows that may be references: the time of the search is their number times the others'."""
COMPARED = 256
"""Coordinates in which rows are compared to find the most similar one."""
SEARCHED = 1 << 22
"""Similarities computed at once."""
ERROR = 0.25
"""Mean squared error of a coordinate in squared steps."""
CLASS_BITS = 3
"""Bits of a gain class, at most."""
MOST_VALUES = 1 << 27
"""Larger tables have no references: the coordinates of references are held in memory."""

Coordinates = Callable[[Tensor, Tensor | slice], Tensor]
"""Coordinates of rows of ids (n,): float32 (n, d), or of chosen columns."""
_ALL = slice(None)


class Source(NamedTuple):
    """What is known of the rows before they are coded."""

    coordinates: Coordinates
    variance: Tensor
    """float32 (d,), of the coordinates of all rows."""
    step: Tensor
    """float32 (V,), of each row."""
    weights: Tensor
    """float64 (V,)."""


def find_references(rows: Source, block: int) -> tuple[RowReferences, float]:
    """References that save bits, and the number of bits that all of them save.

    Args:
        rows: the rows.
        block: number of rows to compare at once.
    """
    n, d = len(rows.step), len(rows.variance)
    references = RowReferences.none(n)
    n_roots = min(int(SHARE * n), MOST_ROOTS)
    if n * d > MOST_VALUES or not n_roots or not float(rows.variance.max()):
        return references, 0.0
    order = rows.weights.argsort(descending=True, stable=True)
    roots, others = order[:n_roots].sort().values, order[n_roots:].sort().values
    saved = _refer(rows, others, roots, references, block)
    # Of the candidates that predict no other row, some are themselves predicted by those that do.
    used = torch.from_numpy(references.row[references.gain > 0]).unique()
    idle = roots[~torch.isin(roots, used)]
    if len(used) and len(idle):
        saved += _refer(rows, idle, used, references, block)
    return references, saved


def _refer(
    rows: Source, others: Tensor, roots: Tensor, references: RowReferences, block: int
) -> float:
    """Set the references of other rows to roots, of ids (m,) and (n,); returns the bits saved."""
    best = roots[_most_similar(_features(rows, roots, block), _features(rows, others, block))]
    saved = 0.0
    for ids, root in zip(others.split(block), best.split(block)):
        gain, bits = _savings(rows, ids, root)
        bits = bits - np.log2(len(rows.step)) - CLASS_BITS
        chosen = (gain > 0) & (bits > 0)
        references.gain[ids[chosen]] = gain[chosen]
        references.row[ids[chosen]] = root[chosen]
        saved += float(bits[chosen].sum())
    return saved


def _features(rows: Source, ids: Tensor, block: int) -> Tensor:
    """The coordinates in which rows are compared, of length 1: float32 (n, COMPARED)."""
    widest = rows.variance.argsort(descending=True)[:COMPARED]
    floor = ERROR * float(rows.step.median()) ** 2
    scale = rows.variance[widest].clamp_min(floor).sqrt()
    parts = [rows.coordinates(part, widest) / scale for part in ids.split(block)]
    return normalize(torch.cat(parts))


def _most_similar(keys: Tensor, queries: Tensor) -> Tensor:
    """For each query (m, k) the position of the most similar key (n, k)."""
    parts = queries.split(max(1, SEARCHED // len(keys)))
    # On one core NumPy's argmax takes a tenth of the time of PyTorch's.
    return torch.from_numpy(np.concatenate([(part @ keys.T).numpy().argmax(1) for part in parts]))


def _savings(rows: Source, ids: Tensor, root: Tensor) -> tuple[Tensor, Tensor]:
    """Gain classes (n,) of rows predicted by roots, and the bits that each prediction saves."""
    error, root_error = (ERROR * rows.step[i, None].square() for i in (ids, root))
    scale = torch.maximum(rows.variance, error).sqrt()
    row = rows.coordinates(ids, _ALL) / scale
    # The decoded root: coordinates below the water level are 0.
    kept = 1 - root_error / torch.maximum(rows.variance, root_error)
    other = rows.coordinates(root, _ALL) * kept / scale
    product, square = (row * other).sum(1), other.square().sum(1)
    gain = (GAINS * product / square.clamp_min(1e-30)).round().clamp(0, GAINS - 1)
    rest = row - gain[:, None] / GAINS * other
    before, after = (
        (part.square().mean(1, keepdim=True) * rows.variance / error).clamp_min(1).log2().sum(1) / 2
        for part in (row, rest)
    )
    return gain.long(), before - after


class Predictor:
    """Predicts rows by decoded roots, in the coordinates of the basis.

    Args:
        references: of all rows.
        d: number of coordinates.
    """

    def __init__(self, references: RowReferences, d: int) -> None:
        self.gain = torch.from_numpy(references.gain)
        self.row = torch.from_numpy(references.row)
        used = self.row[self.gain > 0].unique()
        self.place = torch.full_like(self.row, -1)
        self.place[used] = torch.arange(len(used))
        self.decoded = torch.zeros(len(used), d)

    def subtract(self, coordinates: Tensor, ids: Tensor) -> None:
        """Subtract the predictions of rows of ids (n,) from their coordinates (n, d)."""
        predicted = self.gain[ids].nonzero().flatten()
        if len(predicted):
            own = ids[predicted]
            gain = self.gain[own, None].float() / GAINS
            coordinates[predicted] -= gain * self.decoded[self.place[self.row[own]]]

    def kept(self, ids: Tensor) -> Tensor:
        """Positions among ids (n,) of roots that predict others."""
        return (self.place[ids] >= 0).nonzero().flatten()

    def keep(self, ids: Tensor, decoded: Tensor) -> None:
        """Keep the decoded coordinates (n, d) of roots of ids (n,)."""
        self.decoded[self.place[ids]] = decoded
