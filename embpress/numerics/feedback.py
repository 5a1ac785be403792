"""Rounding of a matrix column by column, with feedback of each column's error to later ones.

The error of W x for inputs x of second moment H = L L^T (L lower triangular) is the squared norm of
the rows of (W - W^) L. Its column j depends on the errors of columns j and above, so that columns
are rounded from the last to the first, and column j rounds

    T_j = W_j + sum over k > j of (W_k - W^_k) L_kj / L_jj,

which cancels what the columns above contribute: successive cancellation (WaterSIC, arXiv
2603.04956), Babai's nearest plane, and GPTQ (arXiv 2210.17323) with its columns reversed. What
remains is the rounding error of T_j times L_jj.
"""

from typing import NamedTuple

import numpy as np

from .compiled import compiled
from .index_tables import WIDTH, high_part, split_spread_class

BLOCK = 64
"""Columns between two matrix products that feed errors back."""


class Grid(NamedTuple):
    """Steps, spread classes and level shifts of an (n, d) matrix."""

    row_step: np.ndarray
    """float32 (n,)"""
    column_step: np.ndarray
    """float32 (d,); the step of (i, j) is row_step_i column_step_j."""
    row_class: np.ndarray
    """int64 (n,)"""
    column_class: np.ndarray
    """int64 (d,); the spread class of (i, j) is row_class_i + column_class_j."""
    shift: np.ndarray
    """float32 (2,), added to |z| = 1 and |z| > 1 in steps."""
    price: np.ndarray
    """float32 (CLASSES, WIDTH), squared error in squared steps accepted for the code of each high
    part + WIDTH // 2."""


class Rounded(NamedTuple):
    """Result of rounding an (n, d) matrix."""

    values: np.ndarray
    """int32 (n, d), integers z."""
    targets: np.ndarray
    """float32 (n, d), what was rounded: T."""
    error: np.ndarray
    """float32 (n, d), W - W^."""


def round_with_feedback(weight: np.ndarray, factor: np.ndarray | None, grid: Grid) -> Rounded:
    """Round a matrix to a grid.

    Args:
        weight: float32 (n, d).
        factor: float32 (d, d), L / diag(L) by column, so that its diagonal is 1; None rounds
            without feedback.
        grid: steps and prices.
    """
    n, d = weight.shape
    rounded = Rounded(
        np.empty((n, d), dtype=np.int32),
        np.empty((n, d), dtype=np.float32),
        np.zeros((n, d), dtype=np.float32),
    )
    size = BLOCK if factor is not None else d
    for stop in range(d, 0, -size):
        start = max(0, stop - size)
        targets = weight[:, start:stop].copy()
        if factor is not None and stop < d:
            targets += rounded.error[:, stop:] @ factor[stop:, start:stop]
        local = np.zeros((1, 1), np.float32) if factor is None else factor[start:stop, start:stop]
        _round_block(
            targets,
            np.ascontiguousarray(weight[:, start:stop]),
            np.ascontiguousarray(local.T),
            grid,
            start,
            rounded,
        )
    return rounded


@compiled
def _round_block(
    targets: np.ndarray,
    weight: np.ndarray,
    factor: np.ndarray,
    grid: Grid,
    start: int,
    out: Rounded,
) -> None:
    """Round columns start to start + b.

    Args:
        targets: float32 (n, b), with the feedback of later blocks; changed.
        weight: float32 (n, b).
        factor: float32 (b, b) transposed: [j, k] is the share of column k's error in column j; of
            another shape without feedback.
        grid: steps and prices.
        start: first column.
        out: output.
    """
    n, b = targets.shape
    has_feedback = len(factor) == b
    error = np.zeros(b, dtype=np.float32)
    for i in range(n):
        for j in range(b - 1, -1, -1):
            target = targets[i, j]
            if has_feedback:
                for k in range(j + 1, b):
                    target += error[k] * factor[j, k]
            step = grid.row_step[i] * grid.column_step[start + j]
            sample = abs(target) / step
            table, low = split_spread_class(grid.row_class[i] + grid.column_class[start + j])
            size = _choose(min(sample, np.float32(1 << 24)), grid, table, low)
            level = np.float32(size)
            if size:
                level += grid.shift[int(size > 1)]
            level = level * step
            error[j] = weight[i, j] - (level if target >= 0 else -level)
            out.values[i, start + j] = size if target >= 0 else -size
            out.targets[i, start + j] = target
            out.error[i, start + j] = error[j]


@compiled
def _choose(sample: float, grid: Grid, table: int, low: int) -> int:
    """The absolute integer of least squared error plus price for |T| in steps."""
    size = int(sample + np.float32(0.5))
    if size == 0 or low > 0:
        return size
    best = size
    least = np.float32(np.inf)
    for candidate in range(max(size - 1, 0), size + 1):
        level = np.float32(candidate)
        if candidate:
            level += grid.shift[int(candidate > 1)]
        position = min(high_part(candidate, low) + WIDTH // 2, WIDTH - 1)
        cost = (sample - level) ** 2 + grid.price[table, position]
        if cost < least:
            least = cost
            best = candidate
    return best
