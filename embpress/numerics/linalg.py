"""Gram matrices of tall matrices, summed over blocks of rows, and their eigenvectors.

Large products on the CPU run in numpy: its OpenBLAS is 1.6 times as fast as torch's BLAS on AMD
processors, and numpy computes only half of a product A^T A. Results are on the matrix's device.
"""

from typing import Any

import numpy as np
import torch
from torch import Tensor

from .matrices import Rows

ROW_BLOCK = 8192
BLOCK_VALUES = 1 << 23
"""Values of a row block of a wide matrix: 64 MiB in float64, twice that with weighted rows."""


def gram(
    matrix: Rows, weights: Tensor | None = None, precision: type[np.floating[Any]] = np.float64
) -> Tensor:
    """Gram matrix M^T diag(w) M of a (V, d) matrix with row weights (V,): float64 (d, d).

    Products of row blocks are computed in `precision` and summed in float64.
    """
    rows, d = matrix.shape
    step = min(ROW_BLOCK, rows, max(1, BLOCK_VALUES // d))
    if isinstance(matrix, Tensor) and matrix.device.type != "cpu":
        return _gram_on_device(matrix, weights, precision, step)
    total = np.zeros((d, d))
    # One buffer for all blocks: allocating fresh memory would take as long as the computation.
    buffer = np.empty((step, d), dtype=precision)
    for start in range(0, rows, step):
        block = buffer[: rows - start]
        block[:] = matrix[start : start + step].numpy()
        if weights is not None:
            block *= weights[start : start + step, None].double().sqrt().numpy()
        total += block.T @ block
    return torch.from_numpy(total)


def _gram_on_device(
    matrix: Tensor, weights: Tensor | None, precision: type[np.floating[Any]], step: int
) -> Tensor:
    """`gram` of a matrix on another device than the CPU, in blocks of `step` rows."""
    dtype = torch.float64 if precision is np.float64 else torch.float32
    total = matrix.new_zeros(matrix.shape[1], matrix.shape[1], dtype=torch.float64)
    for start in range(0, len(matrix), step):
        block = matrix[start : start + step].to(dtype)
        if weights is not None:
            block = block * weights[start : start + step, None].double().sqrt().to(dtype)
        total += block.T @ block
    return total


def right_singular_vectors(matrix: Rows, rank: int, weights: Tensor | None = None) -> Tensor:
    """Top right singular vectors of diag(sqrt(w)) M as orthonormal columns: float32 (d, rank).

    They are eigenvectors of the Gram matrix of float32 products, which resolves directions down to
    about 1e-7 of the energy: the precision of the float32 entries themselves.
    """
    _, vectors = torch.linalg.eigh(gram(matrix, weights, np.float32))
    return vectors.flip(1)[:, :rank].float().contiguous()


def principal_axes(matrix: Tensor, rank: int, weights: Tensor) -> tuple[Tensor, Tensor]:
    """Weighted mean of the rows and top axes of their weighted covariance (weighted PCA).

    Args:
        matrix: float32 (V, d).
        rank: number of axes.
        weights: (V,).

    Returns:
        float32 mean (d,), and axes as orthonormal columns (d, rank).
    """
    mean = matrix.new_zeros(matrix.shape[1], dtype=torch.float64)
    for start in range(0, matrix.shape[0], ROW_BLOCK):
        mean += (
            weights[start : start + ROW_BLOCK].double() @ matrix[start : start + ROW_BLOCK].double()
        )
    total = weights.double().sum()
    mean /= total
    _, vectors = torch.linalg.eigh(gram(matrix, weights) - total * mean.outer(mean))
    return mean.float(), vectors.flip(1)[:, :rank].float().contiguous()
