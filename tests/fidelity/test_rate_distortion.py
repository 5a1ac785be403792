"""The bound against closed forms, small cases by hand, and a numerical optimiser."""

import math

import numpy as np
import pytest
import torch
from scipy.optimize import minimize

from embpress.fidelity.rate_distortion import GaussianSource, distance_db, gaussian_distortion


def spectrum_of(d=12, seed=0):
    return torch.tensor(np.random.default_rng(seed).gamma(0.5, size=d))


def weights_of(n=40, seed=0):
    weights = torch.tensor(1 / np.random.default_rng(seed).permutation(np.arange(1.0, n + 1)))
    return weights / weights.mean()


@pytest.mark.parametrize("bits", [0, 0.5, 2, 8, 32])
def test_white_gaussian_is_two_to_the_minus_two_r(bits):
    assert gaussian_distortion(torch.full((5,), 3.0), 5 * bits) == pytest.approx(
        5 * 3 * 2 ** (-2 * bits), rel=1e-12
    )


def test_two_components_by_hand():
    # Variances 4 and 1: the first bit goes to the first alone (4 -> 1), the next two to both alike
    # (1 -> 1/4).
    spectrum = torch.tensor([1.0, 4.0])
    assert gaussian_distortion(spectrum, 0) == pytest.approx(5)
    assert gaussian_distortion(spectrum, 0.5) == pytest.approx(2 + 1)
    assert gaussian_distortion(spectrum, 1) == pytest.approx(1 + 1)
    assert gaussian_distortion(spectrum, 3) == pytest.approx(0.25 + 0.25)


def test_two_weights_by_hand():
    # Products of weight and variance are 4 and 1 again, over two rows of one component: 1 bit in
    # all goes to the first.
    assert gaussian_distortion(torch.tensor([1.0]), 0.5, torch.tensor([4.0, 1.0])) == pytest.approx(
        (1 + 1) / 5
    )
    assert gaussian_distortion(torch.tensor([1.0]), 1.5, torch.tensor([4.0, 1.0])) == pytest.approx(
        (0.25 + 0.25) / 5
    )


@pytest.mark.parametrize("weights", [None, weights_of()], ids=["uniform", "weighted"])
def test_error_falls_strictly_with_bits_from_all_to_nothing(weights):
    spectrum = spectrum_of()
    found = [gaussian_distortion(spectrum, bits, weights) for bits in np.linspace(0, 200, 60)]
    assert found[0] == pytest.approx(float(spectrum.sum()))
    assert all(a > b for a, b in zip(found, found[1:]))
    assert found[-1] < 1e-6 * found[0]


def test_weighted_is_never_above_uniform_and_equal_weights_are_uniform():
    spectrum = spectrum_of()
    for bits in (0.1, 1, 5, 20, 100):
        uniform = gaussian_distortion(spectrum, bits)
        assert gaussian_distortion(spectrum, bits, weights_of()) < uniform
        assert gaussian_distortion(spectrum, bits, torch.full((7,), 3.0)) == pytest.approx(
            uniform, rel=1e-12
        )


@pytest.mark.parametrize("bits", [0.3, 1.0, 4.0])
def test_no_allocation_that_an_optimiser_finds_is_better(bits):
    variances = spectrum_of(3, 1).numpy()
    weights = weights_of(4).numpy()
    products = np.outer(weights, variances).ravel()

    def error(rates):
        return (products * 2 ** (-2 * rates)).sum()

    n = len(products)
    best = minimize(
        error,
        np.full(n, 4 * bits / n),
        jac=lambda rates: -2 * math.log(2) * products * 2 ** (-2 * rates),
        method="SLSQP",
        bounds=[(0, None)] * n,
        constraints={"type": "eq", "fun": lambda rates: rates.sum() - 4 * bits},
        options={"ftol": 1e-12, "maxiter": 500},
    )
    found = gaussian_distortion(torch.tensor(variances), bits, torch.tensor(weights))
    assert best.success and found == pytest.approx(best.fun / weights.sum(), rel=1e-6)


def test_the_source_of_a_matrix_is_its_covariance_about_the_mean():
    matrix = np.random.default_rng(0).normal(2, 1, (300, 5)) * [3, 2, 1, 1, 0]
    source = GaussianSource.from_matrix(torch.tensor(matrix))
    assert np.allclose(source.spectrum, np.linalg.eigvalsh(np.cov(matrix.T, bias=True)), atol=1e-12)
    assert source.energies.numpy() == pytest.approx((matrix**2).sum(1))
    # Nothing stored: what is left is the variance, as the mean is free.
    assert source.relative_error(math.inf) == pytest.approx(
        np.sqrt(matrix.var(0).sum() / (matrix**2).sum(1).mean())
    )
    assert source.relative_error(1) < 1e-6


def test_constant_and_zero_matrices_have_no_error_to_bound():
    for value in (0.0, 2.0):
        assert GaussianSource.from_matrix(torch.full((4, 3), value)).relative_error(
            10
        ) == pytest.approx(0, abs=1e-7)


def test_distance_is_twenty_logs_of_the_ratio_of_errors():
    assert distance_db(0.2, 0.1) == pytest.approx(6.0206, rel=1e-4)
    assert distance_db(0.0, 0.1) is None
