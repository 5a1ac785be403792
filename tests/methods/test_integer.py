import pytest

from embpress.errors import InfeasibleRatio
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
