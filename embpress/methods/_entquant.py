"""Row steps by EntQuant's rule: least absolute error plus a multiple of the absolute integers.

EntQuant (Putzky et al. 2026, arXiv 2601.22787) rounds a matrix W without data to integers z, with a
step a row, and minimizes over the steps

    |W - W^|_1 / |W|_1 + lambda mean |z|,

where the l1 norm of z stands for its entropy. One lambda serves all matrices. The objective is a
sum over rows, so that the step of each row is searched alone, in quarter octaves about its optimum
for fine steps; the authors' code descends by L-BFGS from the step of the largest value.
"""

import numpy as np

from ..formats.entropy_coded_integers import PER_OCTAVE
from ..numerics.compiled import compiled

WINDOW = 8
"""Quarter octaves above and below the optimum for fine steps that are searched."""
LEAST = 1e-30
"""In place of a mean of 0."""


def mean_size(weight: np.ndarray) -> float:
    """Mean absolute value of a weight, above 0."""
    return max(float(np.abs(weight).mean()), LEAST)


def row_exponents(weight: np.ndarray, log_level: float) -> np.ndarray:
    """Steps of rows, in quarter octaves of the weight's mean absolute value: int64 (n,).

    Args:
        weight: float32 (n, d).
        log_level: log2 of the relative step of a row of mean size; lambda is its square / 4.
    """
    mean = mean_size(weight)
    price = 4.0**log_level / 4
    # A fine step s costs s / 4 of error an entry and saves lambda |w| / s.
    sizes = np.maximum(np.abs(weight).mean(1) / mean, LEAST)
    middle = np.round(PER_OCTAVE * (log_level + 0.5 * np.log2(sizes))).astype(np.int64)
    offsets = np.arange(-WINDOW, WINDOW + 1)
    steps = mean * np.exp2((middle[:, None] + offsets) / PER_OCTAVE)
    return middle + offsets[_cheapest(weight, steps.astype(np.float32), mean, price)]


@compiled
def _cheapest(weight: np.ndarray, steps: np.ndarray, mean: float, price: float) -> np.ndarray:
    """Position of each row's step of least cost, of float32 (n, k): int64 (n,)."""
    n, d = weight.shape
    best = np.zeros(n, dtype=np.int64)
    for i in range(n):
        least = np.inf
        for k in range(steps.shape[1]):
            step = steps[i, k]
            error = np.float32(0)
            sizes = np.float32(0)
            for j in range(d):
                size = abs(weight[i, j]) / step
                rounded = np.floor(size + np.float32(0.5))
                error += abs(size - rounded)
                sizes += rounded
            cost = error * step / mean + price * sizes
            if cost < least:
                least = cost
                best[i] = k
    return best
