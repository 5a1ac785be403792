import pytest

from embpress.errors import InfeasibleRatio, UserError
from embpress.methods import compress
from embpress.methods.integer import Integer

from .samples import matrix_of


@pytest.mark.parametrize(("width", "ratio"), [(8, 3), (4, 5)])
def test_error_is_at_most_half_a_level(width, ratio):
    matrix = matrix_of(300, 33)
    compressed = compress(matrix, "integer", ratio, bits=width)
    error = (compressed.dense() - matrix).abs()
    # fp16 may round a scale down by 2^-11, which cuts the largest value by as much.
    limit = compressed.scale.float()[:, None] / 2 + matrix.abs().amax(1, keepdim=True) * 2**-11
    assert (error <= limit).all()
    assert compressed.width == width


def test_widest_codes_that_fit_are_taken():
    assert Integer().plan((1000, 384), 3.9).sizes["width"] == 8
    assert Integer().plan((1000, 384), 4).sizes["width"] == 4
    with pytest.raises(InfeasibleRatio, match="int4 rows reaches at most 7.9"):
        Integer().plan((1000, 384), 8)


@pytest.mark.parametrize("width", [8, 4])
@pytest.mark.parametrize("size", [1e3, 1, 1e-3, 1e-5, 1e-6])
def test_error_is_at_most_half_a_level_where_fp16_scales_are_coarse(width, size):
    matrix = matrix_of(300, 33) * size
    compressed = compress(matrix, "integer", 2, bits=width)
    level = compressed.scale.double()[:, None]
    assert (level > 0).all()
    assert ((compressed.dense().double() - matrix.double()).abs() <= level * 0.50001).all()
    # The level itself is no larger than it has to be: its fp16 step near 0 is 2^-24.
    top = matrix.abs().amax(1, keepdim=True).double() / (2 ** (width - 1) - 1)
    assert (level <= top * 1.001 + 2**-24).all()


def test_zero_rows_stay_zero_and_rows_beyond_fp16_are_refused():
    matrix = matrix_of(30, 8)
    matrix[5] = 0
    assert (compress(matrix, "integer", 2).dense()[5] == 0).all()
    matrix[7, 2] = 1e8
    with pytest.raises(UserError, match="row 7 reaches 1e\\+08"):
        compress(matrix, "integer", 2, bits=8)
