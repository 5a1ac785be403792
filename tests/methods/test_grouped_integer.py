"""Integers in groups against quantizers in float64 that follow MLX's and torchao's formulas."""

import numpy as np
import pytest
import torch

from embpress.errors import InfeasibleRatio, UserError
from embpress.methods import compress
from embpress.methods.grouped_integer import GroupedInteger

from .samples import matrix_of


def affine(group, width):
    """MLX's codes, scale and bias of one group, in float64."""
    low, high = group.min(), group.max()
    is_low = abs(low) > abs(high)
    scale = max((high - low) / (2**width - 1), 1e-7)
    scale = scale if is_low else -scale
    edge = low if is_low else high
    bias = 0.0
    code_of_0 = np.rint(edge / scale)
    if code_of_0 != 0:
        scale, bias = edge / code_of_0, edge
    return np.rint((group - bias) / scale).clip(0, 2**width - 1), scale, bias


def symmetric(group, width):
    """torchao's codes (from 0), scale and bias of one group, in float64."""
    half = 2 ** (width - 1)
    scale = max(np.abs(group).max() / (half - 0.5), np.finfo(np.float32).eps)
    scale = float(np.float16(scale))
    return np.rint(group / scale).clip(-half, half - 1) + half, scale, -half * scale


@pytest.mark.parametrize("scheme", [affine, symmetric])
@pytest.mark.parametrize("width", [8, 6, 5, 4, 3, 2])
@pytest.mark.parametrize(("d", "group"), [(128, 64), (128, 32), (80, 64)])
def test_codes_and_values_are_those_of_the_formulas(scheme, width, d, group):
    if scheme is symmetric and width < 4:
        return
    matrix = matrix_of(60, d)
    matrix[3] = 0
    matrix[4] = matrix[4].abs()
    matrix[5] = -matrix[5].abs()
    options = {"bits": width, "group": group, "scheme": scheme.__name__}
    compressed = compress(matrix, "grouped_integer", 1, **options)
    stream = np.unpackbits(compressed.codes.numpy(), bitorder="little")[: 60 * d * width]
    codes = (stream.reshape(60, d, width) << np.arange(width)).sum(2)
    decoded = compressed.dense().double().numpy()
    for i, row in enumerate(matrix.double().numpy()):
        for start in range(0, d, group):
            wanted, scale, bias = scheme(row[start : start + group], width)
            # Where float32 and float64 differ, the value is halfway between two levels.
            differ = codes[i, start : start + group] != wanted
            between = np.abs((row[start : start + group] - bias) / scale % 1 - 0.5) < 1e-4
            assert not (differ & ~between).any()
            limit = 2e-3 * 2**width * abs(scale) + 1e-7
            values = scale * codes[i, start : start + group] + bias
            np.testing.assert_allclose(decoded[i, start : start + group], values, atol=limit)


def test_zero_is_a_level_of_both_schemes():
    matrix = matrix_of(60, 128) + 0.05
    matrix[:, 5] = 0
    for scheme in ("affine", "symmetric"):
        decoded = compress(matrix, "grouped_integer", 1, bits=4, scheme=scheme).dense()
        assert (decoded[:, 5].abs() < 1e-3 * matrix.abs().amax(1)).all()


def test_sizes_include_scales_and_biases():
    assert GroupedInteger(bits=4).plan((1000, 384), 7.1).bits == 1000 * 384 * 4.5
    assert GroupedInteger(bits=4, group=32).plan((1000, 384), 6.4).bits == 1000 * 384 * 5
    symmetric_groups = GroupedInteger(bits=4, scheme="symmetric")
    assert symmetric_groups.plan((1000, 384), 7.5).bits == 1000 * 384 * 4.25
    assert GroupedInteger().plan((1000, 384), 5).sizes["width"] == 5
    with pytest.raises(InfeasibleRatio, match="int4 groups of 64 reaches at most 7.11"):
        GroupedInteger(bits=4).plan((1000, 384), 8)


def test_a_width_that_a_scheme_does_not_have_is_refused():
    with pytest.raises(UserError, match="option bits is 3, but scheme: symmetric has 8, 6, 5, 4"):
        GroupedInteger(bits=3, scheme="symmetric")


@pytest.mark.parametrize("scheme", ["affine", "symmetric"])
def test_values_beyond_fp16_are_refused(scheme):
    matrix = matrix_of(30, 64)
    matrix[7, 2] = 1e8
    with pytest.raises(UserError, match="row 7 .*fp16"):
        compress(matrix, "grouped_integer", 2, scheme=scheme)


def test_an_affine_grid_has_no_more_error_than_a_symmetric_one_of_the_same_bits():
    matrix = torch.randn(200, 128, generator=torch.Generator().manual_seed(0))
    errors = {}
    for scheme, group in (("affine", 64), ("symmetric", 32)):
        compressed = compress(matrix, "grouped_integer", 7, scheme=scheme, group=group)
        errors[scheme] = float((compressed.dense() - matrix).norm() / matrix.norm())
    assert 0.08 < errors["affine"] < 0.1 and 0.08 < errors["symmetric"] < 0.1
