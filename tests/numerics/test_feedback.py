"""Rounding with feedback against a direct float64 GPTQ, and against its definition."""

import numpy as np

from embpress.numerics.feedback import BLOCK, Grid, round_with_feedback
from embpress.numerics.index_tables import CLASSES, UNIT, WIDTH


def problem(n, d, seed=0):
    """A weight, a second moment of inputs, and a grid without prices."""
    rng = np.random.default_rng(seed)
    mixing = rng.normal(size=(d, d)) * np.logspace(0, -1, d)
    moment = mixing @ mixing.T / d + 0.01 * np.eye(d)
    weight = rng.normal(size=(n, d)).astype(np.float32)
    grid = Grid(
        rng.uniform(0.5, 2, n).astype(np.float32),
        rng.uniform(0.1, 0.4, d).astype(np.float32),
        np.full(n, UNIT),
        np.zeros(d, dtype=np.int64),
        np.zeros(2, dtype=np.float32),
        np.zeros((CLASSES, WIDTH), dtype=np.float32),
    )
    return weight, moment, grid


def unit_factor(moment):
    """Lower Cholesky factor with a diagonal of 1."""
    lower = np.linalg.cholesky(moment)
    return np.ascontiguousarray((lower / np.diag(lower)).astype(np.float32))


def gptq(weight, moment, step):
    """GPTQ (arXiv 2210.17323) on a grid of given steps, columns from last to first, in float64.

    The inverse of the second moment of the columns that are left is updated by elimination; no
    Cholesky factor is used.
    """
    work = weight.astype(np.float64).copy()
    left = np.linalg.inv(moment)
    rounded = np.zeros(weight.shape, dtype=np.int64)
    for j in range(weight.shape[1] - 1, -1, -1):
        rounded[:, j] = np.round(work[:, j] / step[:, j])
        error = (work[:, j] - rounded[:, j] * step[:, j]) / left[j, j]
        work[:, :j] -= np.outer(error, left[j, :j])
        left = left - np.outer(left[:, j], left[j]) / left[j, j]
    return rounded


def test_integers_are_those_of_a_direct_gptq():
    for d in (7, BLOCK, BLOCK + 9):
        weight, moment, grid = problem(11, d)
        wanted = gptq(weight, moment, np.outer(grid.row_step, grid.column_step))
        found = round_with_feedback(weight, unit_factor(moment), grid).values
        # float32 may round a value that lies between two integers the other way.
        assert (found != wanted).mean() < 0.01


def test_errors_are_those_of_the_decoded_matrix_and_smaller_in_the_metric_of_the_inputs():
    weight, moment, grid = problem(40, 90)
    step = np.outer(grid.row_step, grid.column_step)
    losses = []
    for factor in (unit_factor(moment), None):
        rounded = round_with_feedback(weight, factor, grid)
        error = weight - rounded.values * step
        np.testing.assert_allclose(rounded.error, error, atol=1e-5)
        losses.append(np.einsum("ij,jk,ik->", error, moment, error))
    assert losses[0] < 0.7 * losses[1]


def test_without_feedback_every_value_is_rounded_alone():
    weight, _, grid = problem(5, 12)
    rounded = round_with_feedback(weight, None, grid)
    step = np.outer(grid.row_step, grid.column_step)
    np.testing.assert_array_equal(rounded.values, np.round(weight / step))


def test_a_price_of_bits_makes_integers_smaller():
    weight, moment, grid = problem(30, 20)
    sizes = np.abs(np.arange(WIDTH) - WIDTH // 2)
    dear = grid._replace(price=np.tile(0.3 * sizes, (CLASSES, 1)).astype(np.float32))
    cheap_sum, dear_sum = (
        np.abs(round_with_feedback(weight, unit_factor(moment), g).values).sum()
        for g in (grid, dear)
    )
    assert dear_sum < cheap_sum
