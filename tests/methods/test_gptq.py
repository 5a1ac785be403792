"""GPTQ against a direct computation by its own recursion in float64."""

import numpy as np
import pytest
import torch

from embpress.errors import InfeasibleRatio, UserError
from embpress.methods._code_options import CodeOptions
from embpress.methods._gptq import code_with_gptq, round_gptq
from embpress.methods._layer_code import INPUT_DAMPING, LayerCoder, Moments

N, D, GROUP = 24, 40, 16
OPTIONS = CodeOptions(gptq=True)


@pytest.fixture
def layer():
    generator = torch.Generator().manual_seed(0)
    weight = torch.randn(N, D, generator=generator)
    x = torch.randn(500, D, generator=generator) @ torch.randn(D, D, generator=generator)
    return LayerCoder(weight, Moments(x.T @ x / 500, torch.ones(N)), OPTIONS), weight, x.T @ x / 500


def gptq_in_float64(weight, moment, scale, middle, width):
    """Algorithm 1 of the paper: the Cholesky factor of the inverse, and a weight at a time.

    Columns are reversed, as the paper takes the first one first.
    """
    moment = moment.double().numpy()[::-1, ::-1]
    moment = moment + INPUT_DAMPING * np.diag(moment).mean() * np.eye(D)
    upper = np.linalg.cholesky(np.linalg.inv(moment)).T
    left = weight.double().numpy()[:, ::-1].copy()
    scale = scale.double().numpy()[:, ::-1]
    rounded = np.empty_like(left)
    for j in range(D):
        code = np.clip(np.rint(left[:, j] / scale[:, j] + middle), 0, 2**width - 1)
        rounded[:, j] = scale[:, j] * (code - middle)
        error = (left[:, j] - rounded[:, j]) / upper[j, j]
        left[:, j:] -= np.outer(error, upper[j, j:])
    return torch.from_numpy(rounded[:, ::-1].copy())


@pytest.mark.parametrize("width", [8, 4, 3])
@pytest.mark.parametrize("group", [0, GROUP])
def test_it_is_the_papers_algorithm(layer, width, group):
    coder, weight, moment = layer
    code = round_gptq(coder, width, group)
    scale = code.scale.float().view(N, -1).repeat_interleave(group or D, 1)[:, :D]
    wanted = gptq_in_float64(weight, moment, scale, code.centre, width)
    torch.testing.assert_close(code.dense().double(), wanted, rtol=1e-5, atol=1e-5)


def test_feedback_lowers_the_error_of_the_outputs(layer):
    coder, weight, moment = layer
    plain = LayerCoder(weight, Moments(torch.eye(D), torch.ones(N)), OPTIONS)

    def error(code):
        left = weight - code.dense()
        return float(torch.einsum("ij,jk,ik->", left, moment, left))

    assert error(round_gptq(coder, 4)) < 0.7 * error(round_gptq(plain, 4))


def test_a_budget_takes_the_widest_codes_that_fit(layer):
    coders = {"a": layer[0], "b": layer[0]}
    bits = {width: 2 * round_gptq(layer[0], width, D).stored_bits for width in (5, 4)}
    codes = code_with_gptq(coders, bits[5] - 1)
    assert [code.width for code in codes.values()] == [4, 4]
    assert sum(code.stored_bits for code in codes.values()) == bits[4]
    with pytest.raises(InfeasibleRatio):
        code_with_gptq(coders, 100)


def test_it_needs_data_and_is_no_other_baseline():
    assert OPTIONS.calibration and OPTIONS.feedback
    assert not OPTIONS.trellis and not OPTIONS.measured
    with pytest.raises(UserError):
        CodeOptions(gptq=True, entquant=True)
