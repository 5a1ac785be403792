"""Reconstruction weights of locally linear mappings, in a compiled loop over rows."""

from functools import partial

import numpy as np

from .compiled import compiled

ROUNDING = 1e-7
"""Relative rounding error of a float32 product."""


@compiled
def mixing_weights(
    rows: np.ndarray, anchors: np.ndarray, index: np.ndarray, ridge: float
) -> np.ndarray:
    """Weights that sum to 1 and reconstruct each row best from its neighbours.

    They solve (C + ridge tr(C) / k I) w = 1 up to their sum, C the Gram matrix of the differences
    between the row and its k neighbours (Roweis and Saul 2000).

    Args:
        rows: float32 (m, d).
        anchors: float32 (n, d).
        index: int64 (m, k), positions of each row's neighbours among the anchors.
        ridge: share of the mean of C's diagonal that is added to the diagonal.

    Returns:
        float32 (m, k).
    """
    m, k = index.shape
    d = rows.shape[1]
    weights = np.empty((m, k), dtype=np.float32)
    differences = np.empty((k, d), dtype=np.float32)
    gram = np.empty((k, k))
    solution = np.ones(k)
    for i in range(m):
        for a in range(k):
            anchor = anchors[index[i, a]]
            for j in range(d):
                differences[a, j] = rows[i, j] - anchor[j]
        inner_products(differences, gram)
        trace = 0.0
        for a in range(k):
            trace += gram[a, a]
        for a in range(k):
            gram[a, a] += ridge * trace / k
            solution[a] = 1
        solve(gram, solution)
        total = solution.sum()
        for a in range(k):
            weights[i, a] = solution[a] / total
    return weights


@partial(compiled, fastmath={"contract", "reassoc"})
def inner_products(vectors: np.ndarray, gram: np.ndarray) -> None:
    """Fill the lower half of gram (k, k) with the inner products of vectors (k, d).

    Sums are reassociated, so that they use vector instructions.
    """
    for a in range(len(vectors)):
        for b in range(a + 1):
            total = np.float32(0)
            for j in range(vectors.shape[1]):
                total += vectors[a, j] * vectors[b, j]
            gram[a, b] = total


@compiled
def solve(gram: np.ndarray, solution: np.ndarray) -> None:
    """Solve gram x = b in place by an L D L^T factorization.

    Where rounding leaves nothing of a pivot, it is set to a small positive number: unknowns of
    equal equations then get equal shares.

    Args:
        gram: (k, k), its lower half is read and overwritten.
        solution: (k,), b on entry and x on return.
    """
    k = len(solution)
    diagonal = np.array([gram[j, j] for j in range(k)])
    for j in range(k):
        gram[j, j] = max(gram[j, j], ROUNDING * diagonal[j], 1e-300)
        for i in range(j + 1, k):
            factor = gram[i, j] / gram[j, j]
            for after in range(j + 1, i + 1):
                gram[i, after] -= factor * gram[after, j]
            solution[i] -= factor * solution[j]
    for j in range(k - 1, -1, -1):
        for i in range(j + 1, k):
            solution[j] -= gram[i, j] * solution[i]
        solution[j] /= gram[j, j]
