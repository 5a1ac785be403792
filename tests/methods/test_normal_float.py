"""NF4 against a quantizer in float64, and its levels against their definition."""

import numpy as np
import pytest
import torch
from scipy.stats import norm

from embpress.errors import InfeasibleRatio, UserError
from embpress.formats.normal_float import LEVELS
from embpress.methods import compress, method_class

from .samples import matrix_of


def reference(matrix, group):
    """Codes and values of groups over the flattened matrix, by the nearest level in float64."""
    flat = matrix.double().numpy().ravel()
    padded = np.pad(flat, (0, -len(flat) % group)).reshape(-1, group)
    scale = np.abs(padded).max(1, keepdims=True)
    scaled = padded / np.where(scale > 0, scale, 1)
    distance = np.abs(scaled[:, :, None] - np.array(LEVELS))
    codes = distance.argmin(2)  # the first of equally near ones: the lower
    values = scale * np.array(LEVELS)[codes]
    return codes.ravel()[: len(flat)], values.ravel()[: len(flat)].reshape(matrix.shape)


def test_levels_are_the_quantiles_that_qlora_defines():
    # bitsandbytes' create_normal_map: 8 positive, 7 negative quantiles and 0, scaled to 1.
    offset = 0.9677083
    positive = norm.ppf(np.linspace(offset, 0.5, 9)[:-1])
    negative = -norm.ppf(np.linspace(offset, 0.5, 8)[:-1])
    levels = np.sort(np.concatenate([positive, [0.0], negative]))
    np.testing.assert_allclose(LEVELS, levels / levels.max(), atol=3e-7)


@pytest.mark.parametrize("shape", [(200, 128), (200, 96), (70, 31)])
@pytest.mark.parametrize("group", [64, 32])
def test_codes_and_values_are_those_of_the_nearest_level(shape, group):
    matrix = matrix_of(*shape)
    matrix[3] = 0
    compressed = compress(matrix, "nf4", 1, group=group)
    codes, values = reference(matrix, group)
    packed = compressed.codes.numpy()
    found = np.stack([packed >> 4, packed & 15], axis=1).ravel()[: len(codes)]
    np.testing.assert_array_equal(found, codes)
    np.testing.assert_allclose(compressed.dense().numpy(), values, rtol=1e-6, atol=0)


def test_a_value_between_two_levels_takes_the_lower():
    row = torch.zeros(64)
    row[0] = 1
    row[1] = (LEVELS[8] + LEVELS[7]) / 2
    decoded = compress(row.repeat(2, 1), "nf4", 1).dense()
    assert decoded[0, 1] == 0


def test_sizes_include_the_scales():
    plan = method_class("nf4")().plan((1000, 384), 7.1)
    assert plan.bits == 1000 * 384 * 4.5
    assert method_class("nf4")(scales="float16").plan((1000, 384), 7.5).bits == 1000 * 384 * 4.25
    with pytest.raises(InfeasibleRatio, match="NF4 reaches at most 7.11"):
        method_class("nf4")().plan((1000, 384), 7.2)


def test_float16_scales_out_of_range_are_refused_with_their_row():
    matrix = matrix_of(30, 48)
    matrix[7, 2] = 1e8
    with pytest.raises(UserError, match="row 7 .*fp16"):
        compress(matrix, "nf4", 2, scales="float16")
    compressed = compress(matrix, "nf4", 2)
    assert compressed.dense()[7, 2] == 1e8
