"""Reconstruction metrics of a compressed matrix: of all rows, weighted by counts, by decile."""

from collections.abc import Iterator
from dataclasses import asdict, dataclass

import torch
from torch import Tensor

from ..formats._base import ROW_BLOCK, CompressedMatrix
from ..numerics.weights import smooth_counts
from .eigenspace import eigenspace_overlap, joint_gram
from .neighbours import NeighbourOverlap, query_rows

DECILES = 10
MATRIX_METRICS = (
    "relative_error",
    "mean_cosine",
    "neighbour_overlap",
    "eigenspace_overlap",
)
"""Each exists also weighted, as weighted_METRIC, and by frequency decile, as decile_METRIC."""


@dataclass(frozen=True)
class Reconstruction:
    """Metrics of one compressed matrix.

    Weights are smoothed counts; the first of the ten deciles has the most frequent tokens.
    """

    relative_error: float
    """Frobenius norm of the difference / Frobenius norm of the original."""
    mean_cosine: float
    """Mean over rows of the cosine between original and decoded row."""
    neighbour_overlap: float
    """Mean share, over a sample of rows, of the 10 nearest rows by cosine that stay nearest."""
    eigenspace_overlap: float
    """May et al.'s eigenspace overlap score."""
    weighted_relative_error: float
    """The same with each row's squared norms times its weight."""
    weighted_mean_cosine: float
    """The weighted mean."""
    weighted_neighbour_overlap: float
    """The weighted mean."""
    weighted_eigenspace_overlap: float
    """The score of both matrices with rows times the root of their weight."""
    decile_relative_error: list[float]
    decile_mean_cosine: list[float]
    decile_neighbour_overlap: list[float]
    """Of the rows of a decile, with neighbours among all rows."""
    decile_eigenspace_overlap: list[float]
    """Of the rows of a decile alone."""

    def to_json(self) -> dict[str, float | list[float]]:
        """The metrics as JSON values."""
        return asdict(self)


def reconstruction(matrix: Tensor, compressed: CompressedMatrix, counts: Tensor) -> Reconstruction:
    """Compare a dense (V, d) matrix with its compressed form, block by block of rows.

    Cosines with a zero row are 0, and so are the metrics of a decile without rows.

    Args:
        matrix: float32 (V, d).
        compressed: of the same shape.
        counts: (V,), token counts; rows of equal counts are ordered by id.
    """
    n, d = matrix.shape
    weights = smooth_counts(counts)
    error, energy, cosine, overlaps, n_represented = torch.zeros(5, n, dtype=torch.float64)
    deciles = counts.argsort(descending=True, stable=True).tensor_split(DECILES)
    *grams, weighted_gram = torch.zeros(DECILES + 1, 2 * d, 2 * d, dtype=torch.float64)
    queries, query_weights = query_rows(weights)
    neighbours = NeighbourOverlap(queries, matrix[queries], _decoded(compressed, queries), n)
    # One buffer for all blocks: allocating fresh memory would take as long as the products.
    buffer = torch.empty(min(ROW_BLOCK, n), 2 * d, dtype=torch.float64)
    for decile, ids in _blocks(deciles):
        rows = matrix[ids]
        decoded_rows = compressed.rows(ids)
        neighbours.add(ids, rows, decoded_rows)
        pairs = buffer[: len(ids)]
        row, decoded = pairs.split(d, dim=1)
        row.copy_(rows)
        decoded.copy_(decoded_rows)
        error[ids] = (row - decoded).square_().sum(1)
        energy[ids] = torch.linalg.vecdot(row, row)
        cosine[ids] = torch.cosine_similarity(row, decoded, dim=1, eps=1e-12)
        gram = joint_gram(pairs)
        grams[decile] += gram
        # Most tokens of a corpus of moderate size have the same count: none.
        is_uniform = weights[ids[0]] == weights[ids[-1]]  # ids are in the order of weights
        if is_uniform:
            weighted_gram += weights[ids[0]] * gram
        else:
            pairs *= weights[ids].sqrt()[:, None]
            weighted_gram += joint_gram(pairs)
    overlaps[queries] = neighbours.shares()
    n_represented[queries] = query_weights
    return Reconstruction(
        relative_error=_root_ratio(error, energy),
        mean_cosine=float(cosine.mean()),
        neighbour_overlap=_mean(overlaps, n_represented),
        eigenspace_overlap=eigenspace_overlap(torch.stack(grams).sum(0)),
        weighted_relative_error=_root_ratio(error * weights, energy * weights),
        weighted_mean_cosine=_mean(cosine, weights),
        weighted_neighbour_overlap=_mean(overlaps, n_represented * weights),
        weighted_eigenspace_overlap=eigenspace_overlap(weighted_gram),
        decile_relative_error=[_root_ratio(error[rows], energy[rows]) for rows in deciles],
        decile_mean_cosine=[float(cosine[rows].mean()) if len(rows) else 0.0 for rows in deciles],
        decile_neighbour_overlap=[_mean(overlaps[rows], n_represented[rows]) for rows in deciles],
        decile_eigenspace_overlap=[eigenspace_overlap(gram) for gram in grams],
    )


def _blocks(deciles: tuple[Tensor, ...]) -> Iterator[tuple[int, Tensor]]:
    """Blocks of row ids within one decile, each with the decile's position."""
    for decile, rows in enumerate(deciles):
        for ids in rows.split(ROW_BLOCK) if len(rows) else ():
            yield decile, ids


def _decoded(compressed: CompressedMatrix, ids: Tensor) -> Tensor:
    """Decode the rows of ids in blocks."""
    return torch.cat([compressed.rows(block) for block in ids.split(ROW_BLOCK)])


def _mean(values: Tensor, weights: Tensor) -> float:
    """Weighted mean; 0 if all weights are 0."""
    total = float(weights.sum())
    return float((values * weights).sum()) / total if total > 0 else 0.0


def _root_ratio(error: Tensor, energy: Tensor) -> float:
    """sqrt(sum error / sum energy); 0 if the energy is 0."""
    total = float(energy.sum())
    return (float(error.sum()) / total) ** 0.5 if total > 0 else 0.0
