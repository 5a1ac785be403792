"""Rounding with feedback by the trellis: the rows of a column are one path.

As `feedback.round_with_feedback`, but a column's targets T_j, which the errors of later columns
have moved, are coded together by trellis-coded quantization (see `trellis`), along the rows. The
errors of a column are known before the next one is coded, so that feedback is exact, as in QTIP
(arXiv 2406.11235), whose paths take blocks of columns.
"""

import numpy as np

from .compiled import compiled
from .feedback import BLOCK, Grid, Rounded
from .index_tables import WIDTH, high_part, split_spread_class
from .trellis import POLYNOMIALS, STATES, cheapest_path, level, nearest_size

FEEDBACK, FORWARD = POLYNOMIALS[STATES]
LARGEST = np.float32(1 << 24)
"""Largest sample in half steps."""


def round_by_trellis(weight: np.ndarray, factor: np.ndarray | None, grid: Grid) -> Rounded:
    """Round a matrix to indices of the trellis-coded quantizer.

    Args:
        weight: float32 (n, d).
        factor: float32 (d, d), L / diag(L) by column; None rounds without feedback.
        grid: steps and prices; `shift` is (4,), by quantizer and whether |index| is above 1, and
            `price` (2, CLASSES, WIDTH), by quantizer.
    """
    n, d = weight.shape
    rounded = Rounded(
        np.empty((n, d), dtype=np.int32),
        np.empty((n, d), dtype=np.float32),
        np.zeros((n, d), dtype=np.float32),
    )
    for stop in range(d, 0, -BLOCK):
        start = max(0, stop - BLOCK)
        targets = np.ascontiguousarray(weight[:, start:stop].T)
        if factor is not None and stop < d:
            targets += factor[stop:, start:stop].T @ rounded.error[:, stop:].T
        local = np.zeros((0, 0), np.float32)
        if factor is not None:
            local = np.ascontiguousarray(factor[start:stop, start:stop])
        _round_columns(targets, local, weight, grid, start, rounded)
    return rounded


@compiled
def _round_columns(
    targets: np.ndarray,
    factor: np.ndarray,
    weight: np.ndarray,
    grid: Grid,
    start: int,
    out: Rounded,
) -> None:
    """Round columns start to start + b.

    Args:
        targets: float32 (b, n), with the feedback of later blocks; changed.
        factor: float32 (b, b): [k, j] is the share of column k's error in column j; empty without
            feedback.
        weight: float32 (n, d).
        grid: steps and prices.
        start: first column.
        out: output.
    """
    b, n = targets.shape
    sizes = np.empty((n, 4), dtype=np.int32)
    costs = np.empty((n, 4), dtype=np.float32)
    taken = np.empty(n, dtype=np.uint32)
    branches = np.empty(n, dtype=np.uint8)
    error = np.empty(n, dtype=np.float32)
    for j in range(b - 1, -1, -1):
        step = grid.column_step[start + j]
        for i in range(n):
            sample = min(2 * abs(targets[j, i]) / (grid.row_step[i] * step), LARGEST)
            table, low = split_spread_class(grid.row_class[i] + grid.column_class[start + j])
            for branch in range(4):
                size = nearest_size(sample, branch)
                quantizer = branch >> 1
                shifted = _shifted(size, quantizer, grid.shift)
                place = min(high_part(size, low) + WIDTH // 2, WIDTH - 1)
                sizes[i, branch] = size
                costs[i, branch] = (sample - shifted) ** 2 + grid.price[quantizer, table, place]
        cheapest_path(costs, taken, branches)
        for i in range(n):
            size = sizes[i, branches[i]]
            target = targets[j, i]
            decoded = _shifted(size, branches[i] >> 1, grid.shift) * np.float32(0.5)
            decoded *= grid.row_step[i] * step
            out.values[i, start + j] = size if target >= 0 else -size
            out.targets[i, start + j] = target
            error[i] = weight[i, start + j] - (decoded if target >= 0 else -decoded)
            out.error[i, start + j] = error[i]
        for k in range(j if len(factor) else 0):
            share = factor[j, k]
            for i in range(n):
                targets[k, i] += share * error[i]


@compiled
def _shifted(size: int, quantizer: int, shift: np.ndarray) -> np.float32:
    """Level of an index >= 0 in half steps, with its shift, which is in steps."""
    moved = np.float32(level(size, quantizer))
    if size:
        moved += 2 * shift[2 * quantizer + int(size > 1)]
    return moved


@compiled
def _next_state(state: int, parity: int) -> int:
    """As `transitions`, without a table: loops over states are then vectorized."""
    return state >> 1 ^ (FORWARD >> 1) * parity ^ (FEEDBACK >> 1) * (state & 1)


@compiled
def path_levels(values: np.ndarray, shift: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Decode indices whose columns are paths of the trellis, or integers that are levels.

    Args:
        values: int32 (n, d).
        shift: float32 (4,), see `round_by_trellis`; float32 (2,) of integers.

    Returns:
        float32 (n, d), levels in steps, and uint8 (n, d), their quantizers.
    """
    n, d = values.shape
    levels = np.empty((n, d), dtype=np.float32)
    quantizers = np.zeros((n, d), dtype=np.uint8)
    is_path = len(shift) > 2
    shifts = shift if is_path else np.concatenate((shift, shift))
    states = np.zeros(d, dtype=np.int64)
    for i in range(n):
        own, out, quantizer = values[i], levels[i], quantizers[i]
        if is_path:
            for j in range(d):
                quantizer[j] = states[j] & 1
                states[j] = _next_state(states[j], own[j] & 1)
        for j in range(d):
            size = abs(own[j])
            small, large = (shifts[2], shifts[3]) if quantizer[j] else (shifts[0], shifts[1])
            level_size = size - 0.5 * quantizer[j] + (large if size > 1 else small)
            level_size = level_size if size else 0.0
            out[j] = level_size if own[j] >= 0 else -level_size
    return levels, quantizers
