"""Closed forms on tall matrices: Gram-matrix eigenproblems and blocked nearest neighbours, never V x V in memory."""

import torch
from torch import Tensor

from .matrices import Rows

ROW_BLOCK = 8192
BLOCK_VALUES = 1 << 23
"""Values of a row block of a wide matrix: 64 MiB in float64, twice where rows are weighted."""

SCORES = 1 << 25
"""Scores of neighbours computed at once: 128 MiB."""


def gram(matrix: Rows, weights: Tensor | None = None) -> Tensor:
    """M^T diag(w) M in float64, accumulated over row blocks of an (V, d) matrix: (d, d)."""
    total = torch.zeros(matrix.shape[1], matrix.shape[1], dtype=torch.float64)
    step = min(ROW_BLOCK, max(1, BLOCK_VALUES // matrix.shape[1]))
    for start in range(0, matrix.shape[0], step):
        block = matrix[start : start + step].double()
        scaled = block if weights is None else block * weights[start : start + step, None].double()
        total.addmm_(scaled.T, block)
    return total


def right_singular_vectors(matrix: Rows, rank: int, weights: Tensor | None = None) -> Tensor:
    """Top `rank` right singular vectors of diag(sqrt(w)) M, as orthonormal columns: float32 (d, rank).

    The Gram matrix in float64 squares the condition number, which float32 input (24 bits) leaves room for.
    """
    _, vectors = torch.linalg.eigh(gram(matrix, weights))
    return vectors.flip(1)[:, :rank].float().contiguous()


def principal_axes(matrix: Tensor, rank: int, weights: Tensor) -> tuple[Tensor, Tensor]:
    """Weighted mean (d,) of the rows and the top `rank` axes of their weighted covariance, columns (d, rank); float32."""
    mean = torch.zeros(matrix.shape[1], dtype=torch.float64)
    for start in range(0, matrix.shape[0], ROW_BLOCK):
        mean += weights[start : start + ROW_BLOCK].double() @ matrix[start : start + ROW_BLOCK].double()
    total = weights.double().sum()
    mean /= total
    _, vectors = torch.linalg.eigh(gram(matrix, weights) - total * mean.outer(mean))
    return mean.float(), vectors.flip(1)[:, :rank].float().contiguous()


def nearest(queries: Tensor, keys: Tensor, k: int, similarity: str = "cosine") -> Tensor:
    """Positions (m, k) of the k keys (n, d) nearest to each query (m, d), nearest first.

    `similarity` is cosine, by which a zero row is as near to all, or euclidean.
    """
    if similarity == "cosine":
        keys = torch.nn.functional.normalize(keys, dim=1, eps=1e-30)
        offset = torch.zeros(len(keys))
    else:  # |q - k|^2 = |q|^2 - 2 (q k - |k|^2 / 2)
        offset = keys.square().sum(1) / 2
    found = torch.empty(len(queries), k, dtype=torch.int64)
    step = max(1, SCORES // len(keys))
    for start in range(0, len(queries), step):
        scores = torch.addmm(offset, queries[start : start + step], keys.T, beta=-1)
        found[start : start + step] = scores.topk(k, dim=1).indices
    return found
