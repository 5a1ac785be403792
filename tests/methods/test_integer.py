import numpy as np
import pytest
import torch

from embpress.errors import InfeasibleRatio, UserError
from embpress.methods import _integer_codes, compress, method_class
from embpress.methods._base import Context
from embpress.methods.integer import Integer

from .samples import context_of, matrix_of


class RowsOnly:
    """A matrix of which only blocks of rows and the shape may be read, as of one on disk.

    A block is a slice, or ids.
    """

    def __init__(self, matrix):
        self.matrix = matrix
        self.shape = matrix.shape
        self.longest = 0

    def __getitem__(self, rows):
        assert isinstance(rows, (slice, torch.Tensor))
        block = self.matrix[rows]
        self.longest = max(self.longest, len(block))
        return block


def error_of(compressed, matrix):
    return float((compressed.dense() - matrix).norm() / matrix.norm())


@pytest.mark.parametrize(("width", "ratio"), [(8, 3), (4, 5)])
def test_error_is_at_most_half_a_level(width, ratio):
    matrix = matrix_of(300, 33)
    compressed = compress(matrix, "integer", ratio, bits=width)
    error = (compressed.dense() - matrix).abs()
    # fp16 may round a scale down by 2^-11, which cuts the largest value by as much.
    limit = compressed.scale.float()[:, None] / 2 + matrix.abs().amax(1, keepdim=True) * 2**-11
    assert (error <= limit).all()
    assert compressed.width == width


def test_widest_codes_that_fit_are_taken_and_wider_ones_for_some_rows():
    assert Integer().plan((1000, 384), 3.9).sizes == {"width": 8}
    assert Integer().plan((1000, 384), 4).sizes == {"width": 6, "wider": 8, "n_wide": 977}
    assert Integer().plan((1000, 384), 8).sizes["width"] == 3
    assert Integer().plan((1000, 384), 16).sizes["width"] == 1
    with pytest.raises(InfeasibleRatio, match="int4 rows reaches at most 7.9"):
        Integer(bits=4).plan((1000, 384), 8)
    with pytest.raises(InfeasibleRatio, match="int1 rows reaches at most 30.7"):
        Integer().plan((1000, 384), 31)


@pytest.mark.parametrize("counts", [True, False])
def test_rows_of_most_weighted_energy_have_the_wider_codes(counts):
    matrix = matrix_of(300, 48)
    context = context_of(300) if counts else Context()
    plan = Integer().plan((300, 48), 5)
    compressed = compress(matrix, "integer", 5, context)
    order = matrix.square().sum(1) * (context.counts + 1 if counts else 1)
    wide = order.argsort(descending=True)[: plan.sizes["n_wide"]].sort().values
    assert (compressed.tier_of_row == 0).nonzero().flatten().tolist() == wide.tolist()
    for number, width in enumerate((plan.sizes["wider"], plan.sizes["width"])):
        ids = (compressed.tier_of_row == number).nonzero().flatten()
        alone = compress(matrix[ids], "integer", 1, bits=width)
        assert torch.equal(compressed.rows(ids), alone.dense())


def test_a_row_beyond_fp16_is_named_by_its_number_in_the_matrix():
    matrix = matrix_of(300, 48) * torch.linspace(2, 1, 300)[:, None]
    matrix[290, 2] = 1e8
    with pytest.raises(UserError, match="row 290 .*fp16"):
        compress(matrix, "integer", 5)


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
    assert (compress(matrix, "integer", 1.1, bits=2, group=4).dense()[5] == 0).all()
    matrix[7, 2] = 1e8
    with pytest.raises(UserError, match="row 7 .*1e\\+08.*fp16"):
        compress(matrix, "integer", 2, bits=8)


@pytest.mark.parametrize("width", [8, 4, 3, 2])
@pytest.mark.parametrize("group", [0, 7, 16])
@pytest.mark.parametrize("d", [48, 31])
def test_stored_numbers_decode_by_the_stated_formula(width, group, d):
    matrix = matrix_of(50, d)
    compressed = compress(matrix, "integer", 1, bits=width, group=group)
    stream = np.unpackbits(compressed.codes.numpy(), bitorder="little")[: 50 * d * width]
    codes = (stream.reshape(50, d, width) << np.arange(width)).sum(2).astype(np.float64)

    def of_columns(values):
        return values.numpy().astype(np.float64).reshape(50, -1).repeat(group or d, axis=1)[:, :d]

    wanted = (codes - {8: 128, 4: 8, 3: 3.5, 2: 1.5}[width]) * of_columns(compressed.scale)
    np.testing.assert_allclose(compressed.dense().numpy(), wanted, rtol=1e-5, atol=1e-7)


def test_full_range_of_a_group_reaches_its_ends():
    matrix = matrix_of(80, 64) + 0.05
    compressed = compress(matrix, "integer", 1, bits=4, group=16)
    level = compressed.scale.float().repeat_interleave(16, 1)
    assert ((compressed.dense() - matrix).abs() <= 0.51 * level + 2e-4).all()
    reach = matrix.unflatten(1, (4, 16))
    top = reach.abs().amax(2) / 7
    torch.testing.assert_close(compressed.scale.float(), top, rtol=2e-3, atol=0)


@pytest.mark.parametrize("width", [4, 3, 2])
@pytest.mark.parametrize("group", [0, 32])
def test_the_scale_of_least_squares_beats_the_full_range(width, group, monkeypatch):
    matrix = torch.randn(200, 96, generator=torch.Generator().manual_seed(0))
    errors = []
    for full_range_width in (2, 5):  # from which the full range is taken
        monkeypatch.setattr(_integer_codes, "FULL_RANGE_WIDTH", full_range_width)
        compressed = compress(matrix, "integer", 1, bits=width, group=group)
        errors.append(error_of(compressed, matrix))
    full, searched = errors
    assert searched < full
    # The best uniform quantizers of a Gaussian variable leave .1188, .0374 and .0115 of its
    # variance (Max 1960).
    if not group:
        best = {4: 0.0115, 3: 0.0374, 2: 0.1188}[width] ** 0.5
        assert 0.9 * best < searched < 1.06 * best


def test_no_scale_near_the_found_one_is_better():
    row = matrix_of(2, 64)
    compressed = compress(row, "integer", 1, bits=2)
    found = (compressed.dense() - row).square().sum(1)
    for scale in np.linspace(0.02, 1, 200):
        levels = (np.arange(4) - 1.5) * scale * float(row.abs().max())
        nearest = np.abs(row.numpy()[:, :, None] - levels).min(2)
        assert (found.numpy() <= 1.01 * (nearest**2).sum(1)).all()


def test_matrix_is_read_by_blocks_of_rows():
    matrix = matrix_of(9000, 12)
    method = Integer(bits=3, group=5)
    plan = method.plan((9000, 12), 2)
    reader = RowsOnly(matrix)
    streamed = method.fit(reader, plan, Context())
    assert reader.longest <= 4096
    whole = compress(matrix, "integer", 2, bits=3, group=5)
    assert torch.equal(streamed.dense(), whole.dense())
    assert error_of(whole, matrix) < 0.2


@pytest.mark.parametrize("bits", [8.0, True, "8"])
def test_an_option_of_another_type_is_refused_though_it_is_equal(bits):
    with pytest.raises(UserError, match="option bits is .*must be one of"):
        Integer(bits=bits)


@pytest.mark.parametrize("rate", [float("nan"), float("inf")])
def test_numbers_must_be_finite(rate):
    with pytest.raises(UserError, match="option learning_rate is .*finite"):
        method_class("b21")(learning_rate=rate)
