"""Levels against the published distortion and against a direct numerical search."""

import numpy as np
import pytest
from scipy.optimize import minimize
from scipy.stats import norm

from embpress.numerics.lloyd_max import lloyd_max_levels


def gaussian_error(levels):
    """Exact mean squared error of levels for a standard Gaussian variable."""
    bounds = np.concatenate([[-np.inf], (levels[1:] + levels[:-1]) / 2, [np.inf]])
    mass = np.diff(norm.cdf(bounds))
    density = norm.pdf(bounds)
    moment = -np.diff(density)
    finite = np.where(np.isfinite(bounds), bounds, 0)
    second = mass - np.diff(finite * density)
    return float((second - 2 * levels * moment + levels**2 * mass).sum())


@pytest.mark.parametrize(
    ("bits", "published"), [(1, 0.3634), (2, 0.1175), (3, 0.03454), (4, 0.009497)]
)
def test_gaussian_levels_have_the_error_of_max_1960(bits, published):
    levels = lloyd_max_levels(1 << bits).astype(np.float64)
    assert gaussian_error(levels) == pytest.approx(published, rel=1e-3)


def test_no_other_levels_are_better():
    levels = lloyd_max_levels(8).astype(np.float64)
    found = minimize(gaussian_error, levels * 1.05, method="Nelder-Mead", options={"maxiter": 8000})
    assert gaussian_error(levels) <= found.fun + 1e-6


@pytest.mark.parametrize("n_levels", [2, 16, 256])
def test_levels_rise_and_are_symmetric(n_levels):
    levels = lloyd_max_levels(n_levels, "beta", 48)
    assert (np.diff(levels) > 0).all()
    np.testing.assert_allclose(levels, -levels[::-1], atol=1e-6)


def test_beta_levels_are_the_centroids_of_a_coordinate_of_the_sphere():
    points = np.random.default_rng(0).standard_normal((400_000, 5))
    points *= 5**0.5 / np.linalg.norm(points, axis=1, keepdims=True)
    values = points.ravel()
    levels = lloyd_max_levels(4, "beta", 5)
    cell = np.searchsorted((levels[1:] + levels[:-1]) / 2, values)
    means = [values[cell == i].mean() for i in range(4)]
    np.testing.assert_allclose(levels, means, atol=0.01)


def test_the_beta_law_tends_to_the_gaussian():
    few, many = (lloyd_max_levels(8, "beta", d) for d in (8, 100_000))
    gaussian = lloyd_max_levels(8)
    np.testing.assert_allclose(many, gaussian, atol=1e-3)
    assert abs(few - gaussian).max() > 0.05
