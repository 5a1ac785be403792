"""Closed forms on tall matrices: Gram-matrix eigenproblems and blocked nearest neighbours, never V x V in memory.

Large products run in numpy: its OpenBLAS is 1.6 times as fast as torch's library on AMD processors, and computes only half
of a product that it sees to be symmetric.
"""

from typing import Any

import numpy as np
import torch
from torch import Tensor

from .matrices import Rows

ROW_BLOCK = 8192
BLOCK_VALUES = 1 << 23
"""Values of a row block of a wide matrix: 64 MiB in float64, twice where rows are weighted."""

SCORES = 1 << 25
"""Scores of neighbours computed at once: 128 MiB. In many small turns numpy and torch wait for each other's threads."""


def gram(matrix: Rows, weights: Tensor | None = None, precision: type[np.floating[Any]] = np.float64) -> Tensor:
    """M^T diag(w) M in float64, (d, d): products of row blocks of a (V, d) matrix in some precision, summed in float64."""
    rows, d = matrix.shape
    total = np.zeros((d, d))
    step = min(ROW_BLOCK, rows, max(1, BLOCK_VALUES // d))
    reused = np.empty((step, d), dtype=precision)  # fresh memory would cost as much as what is done to it
    for start in range(0, rows, step):
        block = reused[: rows - start]
        block[:] = matrix[start : start + step].numpy()
        if weights is not None:
            block *= weights[start : start + step, None].double().sqrt().numpy()
        total += block.T @ block
    return torch.from_numpy(total)


def right_singular_vectors(matrix: Rows, rank: int, weights: Tensor | None = None) -> Tensor:
    """Top `rank` right singular vectors of diag(sqrt(w)) M, as orthonormal columns: float32 (d, rank).

    From the Gram matrix of float32 products: what it cannot tell apart are directions that hold 1e-7 of the energy, in a
    matrix that itself has 24 bits a value.
    """
    _, vectors = torch.linalg.eigh(gram(matrix, weights, np.float32))
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
    offset = keys.square().sum(1) / 2
    found = torch.empty(len(queries), k, dtype=torch.int64)
    step = max(1, SCORES // len(keys))
    scores = torch.empty(min(step, len(queries)), len(keys))
    for start in range(0, len(queries), step):
        block = scores[: len(queries) - start]
        np.matmul(queries[start : start + step].numpy(), keys.numpy().T, out=block.numpy())
        if similarity == "euclidean":  # |q - k|^2 = |q|^2 - 2 (q k - |k|^2 / 2)
            block -= offset
        found[start : start + step] = block.topk(k, dim=1).indices
    return found
