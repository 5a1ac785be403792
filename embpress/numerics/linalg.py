"""Closed forms on tall matrices: eigenproblems of Gram matrices, summed over blocks of rows.

Large products run in numpy: its OpenBLAS is 1.6 times as fast as torch's library on AMD processors,
and computes only half of a product that it sees to be symmetric.
"""

from typing import Any

import numpy as np
import torch
from torch import Tensor

from .matrices import Rows

ROW_BLOCK = 8192
BLOCK_VALUES = 1 << 23
"""Values of a row block of a wide matrix: 64 MiB in float64, twice where rows are weighted."""


def gram(
    matrix: Rows, weights: Tensor | None = None, precision: type[np.floating[Any]] = np.float64
) -> Tensor:
    """M^T diag(w) M in float64, (d, d).

    Products of row blocks of a (V, d) matrix in some precision, summed in float64.
    """
    rows, d = matrix.shape
    total = np.zeros((d, d))
    step = min(ROW_BLOCK, rows, max(1, BLOCK_VALUES // d))
    reused = np.empty(
        (step, d), dtype=precision
    )  # fresh memory would cost as much as what is done to it
    for start in range(0, rows, step):
        block = reused[: rows - start]
        block[:] = matrix[start : start + step].numpy()
        if weights is not None:
            block *= weights[start : start + step, None].double().sqrt().numpy()
        total += block.T @ block
    return torch.from_numpy(total)


def right_singular_vectors(matrix: Rows, rank: int, weights: Tensor | None = None) -> Tensor:
    """Top `rank` right singular vectors of diag(sqrt(w)) M, as orthonormal columns: float32 (d,
    rank).

    From the Gram matrix of float32 products: what it cannot tell apart are directions that hold
    1e-7 of the energy, in a matrix that itself has 24 bits a value.
    """
    _, vectors = torch.linalg.eigh(gram(matrix, weights, np.float32))
    return vectors.flip(1)[:, :rank].float().contiguous()


def principal_axes(matrix: Tensor, rank: int, weights: Tensor) -> tuple[Tensor, Tensor]:
    """Weighted mean (d,) of the rows and the top `rank` axes of their weighted covariance.

    Columns (d, rank); float32.
    """
    mean = torch.zeros(matrix.shape[1], dtype=torch.float64)
    for start in range(0, matrix.shape[0], ROW_BLOCK):
        mean += (
            weights[start : start + ROW_BLOCK].double() @ matrix[start : start + ROW_BLOCK].double()
        )
    total = weights.double().sum()
    mean /= total
    _, vectors = torch.linalg.eigh(gram(matrix, weights) - total * mean.outer(mean))
    return mean.float(), vectors.flip(1)[:, :rank].float().contiguous()
