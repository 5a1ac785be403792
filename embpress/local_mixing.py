"""Weights of locally linear mixes: each row from its neighbours, in a compiled loop over rows."""

import numpy as np

from .compiled import compiled

ROUNDING = 1e-7
"""Of a float32 product, relative."""


@compiled
def mixing_weights(rows: np.ndarray, anchors: np.ndarray, index: np.ndarray, ridge: float, sum_to_one: bool) -> np.ndarray:
    """Weights, float32 (m, k), that mix each row, (m, d), best from its neighbours: the anchors (n, d) at its index (m, k).

    The ridge is a share of the mean of the diagonal that it is added to.
    """
    (m, k), d = index.shape, rows.shape[1]
    weights, terms = np.empty((m, k), dtype=np.float32), np.empty((k, d), dtype=np.float32)
    products, gram, solution = np.empty((k, k), dtype=np.float32), np.empty((k, k)), np.empty(k)
    for i in range(m):
        for a in range(k):
            anchor = anchors[index[i, a]]
            for j in range(d):
                terms[a, j] = rows[i, j] - anchor[j] if sum_to_one else anchor[j]
        gram[:] = np.dot(terms, terms.T, products)
        solution[:] = 1
        if not sum_to_one:
            solution[:] = terms @ rows[i]
        load = ridge * np.trace(gram) / k
        for a in range(k):
            gram[a, a] += load
        solve(gram, solution)
        weights[i] = solution / solution.sum() if sum_to_one else solution
    return weights


@compiled
def solve(gram: np.ndarray, solution: np.ndarray) -> None:
    """Solve gram x = b, with b and then x in `solution`, by the factors L D L^T, which replace gram's lower half.

    Of a pivot rounding may leave nothing: it then stays small, but above 0, and equations that are the same share alike.
    """
    k = len(solution)
    least = np.diag(gram) * ROUNDING + 1e-300
    for j in range(k):
        gram[j, j] = max(gram[j, j], least[j])
        for i in range(j + 1, k):
            factor = gram[i, j] / gram[j, j]
            for after in range(j + 1, i + 1):
                gram[i, after] -= factor * gram[after, j]
            solution[i] -= factor * solution[j]
    for j in range(k - 1, -1, -1):
        for i in range(j + 1, k):
            solution[j] -= gram[i, j] * solution[i]
        solution[j] /= gram[j, j]
