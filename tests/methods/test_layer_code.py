"""The code of layers: steps, predicted loss and bits, and the water level of a whole model."""

import numpy as np
import pytest
import torch
from scipy.optimize import minimize_scalar

from embpress.errors import InfeasibleRatio
from embpress.methods._base import Context
from embpress.methods._code_options import CodeOptions
from embpress.methods._layer_code import (
    INPUT_DAMPING,
    OUTPUT_DAMPING,
    LayerCoder,
    Moments,
    plain_moments,
)
from embpress.methods._water_level import code_at_one_level, count_stored_bits


def layer(n=48, d=40, seed=0):
    """A weight and moments of inputs and outputs that are far from equal."""
    generator = torch.Generator().manual_seed(seed)
    mixing = torch.randn(d, d, generator=generator) * torch.logspace(0, -1, d)
    outputs = torch.randn(n, generator=generator).exp()
    return torch.randn(n, d, generator=generator), Moments(mixing @ mixing.T / d, outputs)


def damped(moments):
    """Moments as the coder takes them, in float64."""
    inputs = moments.inputs.double()
    inputs = inputs + INPUT_DAMPING * inputs.diagonal().mean() * torch.eye(len(inputs))
    outputs = moments.outputs.double()
    return inputs, outputs + OUTPUT_DAMPING * outputs.mean()


def test_steps_are_the_level_over_the_cholesky_diagonal_and_the_root_of_the_row_moment():
    weight, moments = layer()
    coder = LayerCoder(weight, moments)
    inputs, outputs = damped(moments)
    diagonal = torch.linalg.cholesky(inputs).diagonal()
    wanted = -(outputs[:, None].log2() / 2 + diagonal.log2())
    exponents = coder.row_step[:, None] + coder.column_step
    # Exponents of rows and of columns are rounded to quarter octaves each.
    np.testing.assert_allclose(coder.base + exponents / 4, wanted, atol=0.26)


@pytest.mark.parametrize("log_level", [-6, -2, 0, 3])
def test_decoded_weights_have_the_predicted_loss(log_level):
    weight, moments = layer()
    coder = LayerCoder(weight, moments)
    code = coder.encode(log_level)
    code.prepare()
    inputs, outputs = damped(moments)
    error = (weight - code.dense()).double()
    wanted = 0.5 * torch.einsum("i,ij,jk,ik->", outputs, error, inputs, error)
    assert coder.loss == pytest.approx(float(wanted), rel=1e-4)


@pytest.mark.parametrize(("trellis", "least", "most"), [(False, 0.99, 1.25), (True, 0.7, 0.95)])
def test_at_high_rates_the_loss_is_that_of_equal_rounding_errors(trellis, least, most):
    weight, moments = layer(200)
    coder = LayerCoder(weight, moments, CodeOptions(trellis=trellis))
    coder.encode(-8)
    # Half a squared rounding error of level^2 / 12 at each of the whitened entries; exponents are
    # rounded, and the price of bits adds some error.
    equal = 0.5 * weight.numel() * 4.0**-8 / 12
    assert least * equal < coder.loss < most * equal


def test_each_ingredient_lowers_the_loss_at_equal_bits():
    weight, moments = layer(96, 64)
    ladder = [
        CodeOptions(feedback=False, column_steps=False, row_steps=False, trellis=False),
        CodeOptions(column_steps=False, row_steps=False, trellis=False),
        CodeOptions(row_steps=False, trellis=False),
        CodeOptions(trellis=False),
        CodeOptions(),
    ]
    levels = np.linspace(-5, 2, 8)
    losses = []
    for options in ladder:
        coder = LayerCoder(weight, moments, options)
        bits, logs = [], []
        for level in levels:
            bits.append(coder.encode(level).stored_bits)
            logs.append(np.log(coder.loss))
        losses.append(np.interp(3 * weight.numel(), bits[::-1], logs[::-1]))
    assert losses == sorted(losses, reverse=True)


def entquant_cost(weight, step, price):
    """EntQuant's objective of a matrix at steps (n, 1), by its definition."""
    integers = (weight / step).round()
    error = (weight - step * integers).abs().sum() / weight.abs().sum()
    return float(error + price * integers.abs().mean())


@pytest.mark.parametrize("log_level", [-3.0, 0.0, 1.5])
def test_entquant_takes_the_steps_of_least_cost(log_level):
    generator = torch.Generator().manual_seed(0)
    weight = torch.randn(30, 64, generator=generator) * torch.logspace(0, 1, 30)[:, None]
    coder = LayerCoder(weight, plain_moments(weight), CodeOptions(entquant=True))
    code = coder.encode(log_level)
    code.prepare()
    step = 2.0 ** (coder.base + log_level) * np.exp2(coder.row_step / 4)
    step = torch.from_numpy(step).float()[:, None]
    # Nearest integers on the grid of these steps, without prices and shifts.
    torch.testing.assert_close(code.dense(), step * (weight / step).round(), rtol=1e-4, atol=1e-4)
    price = 4**log_level / 4
    found = entquant_cost(weight, step, price)
    assert found < 0.99 * entquant_cost(weight, step.mean(), price)
    scales = torch.full((30, 1), 2**0.25)
    assert found <= min(entquant_cost(weight, step * f, price) for f in (scales, 1 / scales))


def test_entquant_is_a_code_without_data():
    options = CodeOptions.parse({"entquant": True})
    left_out = (options.feedback, options.column_steps, options.row_steps, options.calibration)
    assert not any(left_out) and not options.trellis and options.one_level


def test_constant_rows_and_zero_matrices_are_coded():
    for weight in (torch.zeros(20, 16), torch.ones(20, 16), torch.eye(20, 16)):
        code = LayerCoder(weight, plain_moments(weight)).encode(-4)
        code.prepare()
        assert (code.dense() - weight).abs().max() < 0.1


def coders_of_unequal_importance():
    """Two layers; errors of the second are 10 times as important."""
    return {
        str(seed): LayerCoder(weight, moments.scaled(10.0**seed))
        for seed, (weight, moments) in ((seed, layer(64, 48, seed)) for seed in (1, 2))
    }


def test_one_level_is_where_an_optimizer_puts_the_bits():
    levels = np.linspace(-8, 3, 23)
    tables = []
    for coder in coders_of_unequal_importance().values():
        points = []
        for level in levels:
            bits = coder.encode(level).stored_bits
            points.append((bits, np.log(coder.loss)))
        tables.append(np.array(points).T)

    budget = 4 * 2 * 64 * 48

    def loss(share):
        """Loss if the first layer gets a share of the budget."""
        shares = (share * budget, (1 - share) * budget)
        return sum(
            np.exp(np.interp(bits, table[0][::-1], table[1][::-1]))
            for bits, table in zip(shares, tables)
        )

    best = minimize_scalar(loss, bounds=(0.1, 0.9), method="bounded")
    coded = code_at_one_level(coders_of_unequal_importance(), budget, Context())
    assert 0.1 < best.x < 0.45  # the optimizer gives the first, less important layer less
    assert loss(coded["1"].stored_bits / count_stored_bits(coded)) < 1.03 * best.fun


@pytest.mark.parametrize("bits_per_weight", [1.5, 3, 6])
def test_a_budget_is_kept_and_spent(bits_per_weight):
    budget = round(bits_per_weight * 2 * 64 * 48)
    coded = code_at_one_level(coders_of_unequal_importance(), budget, Context())
    assert 0.98 * budget <= count_stored_bits(coded) <= budget
    assert coded["2"].stored_bits > coded["1"].stored_bits


def test_what_one_level_leaves_is_filled_with_codes_of_a_lower_one():
    layers = (layer(64, 48, seed) for seed in range(12))
    coders = {str(i): LayerCoder(*one) for i, one in enumerate(layers)}
    for bits_per_weight in (1.5, 2, 3):
        budget = round(bits_per_weight * 12 * 64 * 48)
        bits = count_stored_bits(code_at_one_level(coders, budget, Context()))
        assert 0.997 * budget <= bits <= budget, bits / budget


def test_a_budget_below_the_smallest_code_is_refused():
    with pytest.raises(InfeasibleRatio, match="lower ratio"):
        code_at_one_level(coders_of_unequal_importance(), 2_000, Context())


def test_a_mean_row_is_stored_apart():
    weight, moments = layer(200, 40)
    bits = [
        LayerCoder(weight + 3, moments, has_mean=has_mean).encode(-3).stored_bits
        for has_mean in (True, False)
    ]
    code = LayerCoder(weight + 3, moments, has_mean=True).encode(-3)
    code.prepare()
    assert bits[0] < bits[1] - 0.5 * weight.numel()
    assert (code.dense() - weight - 3).abs().mean() < 0.3
