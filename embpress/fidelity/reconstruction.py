"""How near a compressed matrix is to the original.

Cheap metrics over all rows, weighted by counts, by frequency decile.
"""

from collections.abc import Iterator
from dataclasses import asdict, dataclass

import torch
from torch import Tensor

from ..formats._base import ROW_BLOCK, CompressedMatrix
from ..numerics.weights import smooth_counts
from .eigenspace import eigenspace_overlap, joint_gram
from .neighbours import NeighbourOverlap, query_rows

DECILES = 10
METRICS = ("relative_error", "mean_cosine", "neighbour_overlap", "eigenspace_overlap")
"""Each is also given weighted, as weighted_METRIC, and by decile, as decile_METRIC."""


@dataclass(frozen=True)
class Reconstruction:
    """Metrics of one compressed matrix.

    Weights are smoothed counts; decile 1 of 10 holds the most frequent tokens.
    """

    relative_error: float
    """Frobenius norm of the difference / Frobenius norm of the original."""
    mean_cosine: float
    """Mean over rows of the cosine between original and decoded row."""
    neighbour_overlap: float
    """Mean share of a row's 10 nearest rows by cosine that stay among its 10 nearest.

    Over a sample of rows.
    """
    eigenspace_overlap: float
    """May et al.'s eigenspace overlap score."""
    weighted_relative_error: float
    """The same with each row's squared norms weighted."""
    weighted_mean_cosine: float
    """The same mean, weighted."""
    weighted_neighbour_overlap: float
    """The same mean, weighted."""
    weighted_eigenspace_overlap: float
    """The score of both matrices with rows times the square root of their weight."""
    decile_relative_error: list[float]
    decile_mean_cosine: list[float]
    decile_neighbour_overlap: list[float]
    """Of the rows of the decile, among all rows."""
    decile_eigenspace_overlap: list[float]
    """Of the rows of the decile alone."""

    def to_json(self) -> dict[str, float | list[float]]:
        """As plain JSON values."""
        return asdict(self)


def reconstruction(matrix: Tensor, compressed: CompressedMatrix, counts: Tensor) -> Reconstruction:
    """Compare a dense (V, d) matrix with its compressed form, row block by row block; counts: (V,).

    Cosines with a zero row are 0, and so is what a decile without rows has. Rows of equal count
    keep their order, so that deciles are the same in every run.
    """
    n, d = matrix.shape
    weights = smooth_counts(counts)
    error, energy, cosine, shares, stands_for = (
        torch.zeros(n, dtype=torch.float64) for _ in range(5)
    )
    tenths = counts.argsort(descending=True, stable=True).tensor_split(DECILES)
    *grams, weighted_gram = torch.zeros(DECILES + 1, 2 * d, 2 * d, dtype=torch.float64)
    queries, stand_for = query_rows(weights)
    overlap = NeighbourOverlap(queries, matrix[queries], _decoded(compressed, queries), n)
    for tenth, ids in _blocks(tenths):
        row = matrix[ids]
        decoded = compressed.rows(ids)
        overlap.add(ids, row, decoded)
        row = row.double()
        decoded = decoded.double()
        error[ids] = (row - decoded).square().sum(1)
        energy[ids] = row.square().sum(1)
        cosine[ids] = torch.cosine_similarity(row, decoded, dim=1, eps=1e-12)
        grams[tenth] += joint_gram(row, decoded)
        weighted_gram += joint_gram(row, decoded, weights[ids])
    shares[queries], stands_for[queries] = overlap.shares(), stand_for
    return Reconstruction(
        relative_error=_root_ratio(error, energy),
        mean_cosine=float(cosine.mean()),
        neighbour_overlap=_mean(shares, stands_for),
        eigenspace_overlap=eigenspace_overlap(torch.stack(grams).sum(0)),
        weighted_relative_error=_root_ratio(error * weights, energy * weights),
        weighted_mean_cosine=_mean(cosine, weights),
        weighted_neighbour_overlap=_mean(shares, stands_for * weights),
        weighted_eigenspace_overlap=eigenspace_overlap(weighted_gram),
        decile_relative_error=[_root_ratio(error[rows], energy[rows]) for rows in tenths],
        decile_mean_cosine=[float(cosine[rows].mean()) if len(rows) else 0.0 for rows in tenths],
        decile_neighbour_overlap=[_mean(shares[rows], stands_for[rows]) for rows in tenths],
        decile_eigenspace_overlap=[eigenspace_overlap(gram) for gram in grams],
    )


def _blocks(tenths: tuple[Tensor, ...]) -> Iterator[tuple[int, Tensor]]:
    """Row ids in blocks, none of which crosses a decile, with the decile's position."""
    for tenth, rows in enumerate(tenths):
        for ids in rows.split(ROW_BLOCK) if len(rows) else ():
            yield tenth, ids


def _decoded(compressed: CompressedMatrix, ids: Tensor) -> Tensor:
    """Decoded rows of some ids, blocked like all others."""
    return torch.cat([compressed.rows(block) for block in ids.split(ROW_BLOCK)])


def _mean(values: Tensor, weights: Tensor) -> float:
    """Weighted mean; 0 without weight."""
    total = float(weights.sum())
    return float((values * weights).sum()) / total if total > 0 else 0.0


def _root_ratio(error: Tensor, energy: Tensor) -> float:
    """sqrt(sum error / sum energy); 0 where there is no energy."""
    total = float(energy.sum())
    return (float(error.sum()) / total) ** 0.5 if total > 0 else 0.0
