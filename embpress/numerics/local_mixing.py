"""Weights of locally linear mixes: each row from its neighbours, in a compiled loop over rows."""

from functools import partial

import numpy as np

from .compiled import compiled

ROUNDING = 1e-7
"""Of a float32 product, relative."""


@compiled
def mixing_weights(
    rows: np.ndarray, anchors: np.ndarray, index: np.ndarray, ridge: float, sum_to_one: bool
) -> np.ndarray:
    """Weights, float32 (m, k), that mix each row, (m, d), best from its neighbours: the anchors (n,
    d) at its index (m, k).

    The ridge is a share of the mean of the diagonal that it is added to.
    """
    (m, k), d = index.shape, rows.shape[1]
    weights = np.empty((m, k), dtype=np.float32)
    terms = np.empty((k if sum_to_one else k + 1, d), dtype=np.float32)
    gram = np.empty((len(terms), len(terms)))
    solution = np.ones(k)
    for i in range(m):
        for a in range(len(terms)):
            source = (
                anchors[index[i, a]] if a < k else rows[i]
            )  # the row itself, for its inner products
            for j in range(d):
                terms[a, j] = rows[i, j] - source[j] if sum_to_one else source[j]
        inner_products(terms, gram)
        trace = 0.0
        for a in range(k):
            trace += gram[a, a]
        for a in range(k):
            gram[a, a] += ridge * trace / k
            solution[a] = 1 if sum_to_one else gram[k, a]
        solve(gram, solution)
        total = solution.sum() if sum_to_one else 1.0
        for a in range(k):
            weights[i, a] = solution[a] / total
    return weights


@partial(compiled, fastmath={"contract", "reassoc"})
def inner_products(terms: np.ndarray, gram: np.ndarray) -> None:
    """Fill gram's lower half with those of all terms, (k, d).

    Summed in whatever order vector instructions do.
    """
    for a in range(len(terms)):
        for b in range(a + 1):
            total = np.float32(0)
            for j in range(terms.shape[1]):
                total += terms[a, j] * terms[b, j]
            gram[a, b] = total


@compiled
def solve(gram: np.ndarray, solution: np.ndarray) -> None:
    """Solve gram x = b, with b and then x in `solution` (k,), by factors L D L^T, which replace k
    rows of gram's lower half.

    Of a pivot rounding may leave nothing: it then stays small, but above 0, and equations that are
    the same share alike.
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
