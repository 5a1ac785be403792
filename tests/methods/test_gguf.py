"""The bytes of GGUF blocks against the package `gguf`, which has ggml's quantizers in numpy."""

import gguf
import numpy as np
import pytest
import torch

from embpress.errors import InfeasibleRatio, UserError
from embpress.methods import compress
from embpress.methods.gguf import GGUF

from .samples import matrix_of

TYPES = ["q8_0", "q5_0", "q4_0"]


def difficult_matrix(d=96):
    """Rows of all sizes, zeros, ties of largest absolute values, and halves between codes."""
    matrix = matrix_of(400, d)
    matrix[5] = 0
    matrix[6, :32] = 0
    matrix[7] = torch.arange(d) % 2 * 2.0 - 1
    matrix[8] = (torch.arange(d) % 32 - 15.5) / 8
    matrix[9] = torch.arange(d) % 32 - 16
    matrix[10] *= 1e-4
    matrix[11] *= 1e4
    matrix[12] = 127 * torch.linspace(-1, 1, d)
    return matrix


@pytest.mark.parametrize("name", TYPES)
def test_bytes_and_values_are_those_of_the_gguf_package(name):
    matrix = difficult_matrix()
    compressed = compress(matrix, "gguf", 1, type=name)
    kind = gguf.GGMLQuantizationType[name.upper()]
    wanted = gguf.quants.quantize(matrix.numpy(), kind)
    np.testing.assert_array_equal(compressed.blocks.numpy(), wanted)
    np.testing.assert_array_equal(compressed.dense().numpy(), gguf.quants.dequantize(wanted, kind))


@pytest.mark.parametrize("name", TYPES)
def test_rows_of_other_lengths_end_with_a_padded_block(name):
    matrix = difficult_matrix(96)
    short = compress(matrix[:, :70], "gguf", 1, type=name)
    padded = matrix.clone()
    padded[:, 70:] = 0
    whole = compress(padded, "gguf", 1, type=name)
    assert torch.equal(short.blocks, whole.blocks)
    assert torch.equal(short.dense(), whole.dense()[:, :70])


def test_the_widest_type_that_fits_is_taken():
    assert GGUF().plan((1000, 384), 3.7).sizes["width"] == 8
    assert GGUF().plan((1000, 384), 4).sizes["width"] == 5
    assert GGUF().plan((1000, 384), 7.1).sizes["width"] == 4
    with pytest.raises(InfeasibleRatio, match="GGUF Q4_0 reaches at most 7.11"):
        GGUF().plan((1000, 384), 8)


def test_values_beyond_fp16_are_refused():
    matrix = matrix_of(30, 64)
    matrix[7, 2] = 1e8
    with pytest.raises(UserError, match="row 7 .*1e\\+08.*fp16"):
        compress(matrix, "gguf", 2)


def test_inverse_scales_that_overflow_give_zeros():
    assert (compress(torch.full((4, 32), 1e-40), "gguf", 2).dense() == 0).all()
