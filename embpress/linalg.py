"""Closed forms on tall matrices: Gram-matrix eigenproblems and blocked nearest neighbours, never V x V in memory."""

import torch
from torch import Tensor

ROW_BLOCK = 8192


def gram(matrix: Tensor, weights: Tensor | None = None) -> Tensor:
    """M^T diag(w) M in float64, accumulated over row blocks of an (V, d) matrix: (d, d)."""
    total = torch.zeros(matrix.shape[1], matrix.shape[1], dtype=torch.float64)
    for start in range(0, matrix.shape[0], ROW_BLOCK):
        block = matrix[start : start + ROW_BLOCK].double()
        scaled = block if weights is None else block * weights[start : start + ROW_BLOCK, None].double()
        total += scaled.T @ block
    return total


def right_singular_vectors(matrix: Tensor, rank: int, weights: Tensor | None = None) -> Tensor:
    """Top `rank` right singular vectors of diag(sqrt(w)) M, as orthonormal columns: float32 (d, rank).

    The Gram matrix in float64 squares the condition number, which float32 input (24 bits) leaves room for.
    """
    _, vectors = torch.linalg.eigh(gram(matrix, weights))
    return vectors.flip(1)[:, :rank].float().contiguous()


def nearest_by_cosine(queries: Tensor, keys: Tensor, k: int) -> Tensor:
    """Positions (m, k) of the k keys (n, d) nearest to each query (m, d) by cosine, nearest first; a zero row has 0."""
    unit_queries, unit_keys = (torch.nn.functional.normalize(x, dim=1, eps=1e-30) for x in (queries, keys))
    return (unit_queries @ unit_keys.T).topk(k, dim=1).indices
