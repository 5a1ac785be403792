import pytest
import torch

from embpress.errors import UserError
from embpress.formats import _factors as factors
from embpress.formats._factors import GROUP, TOP, TOP_INT4, Factor, FactoredMatrix, bits_of

LAYOUT = {
    "left": Factor((50, 6), axis=0),
    "right": Factor((6, 9), axis=1),
    "stack": Factor((2, 50, 3), axis=1),
    "bias": Factor((9,)),
    "none": Factor((50, 0), axis=0),
}


class Plain(FactoredMatrix):
    """Factors alone."""

    def rows(self, ids):
        return self.factor_rows("left", ids) @ self.factor("right")


def filled(dtype, size=1.0):
    matrix = Plain((50, 9), dtype, LAYOUT)
    generator = torch.Generator().manual_seed(0)
    values = {
        name: size * torch.randn(factor.shape, generator=generator)
        for name, factor in LAYOUT.items()
    }
    for name, value in values.items():
        matrix.store(name, value)
    return matrix, values


@pytest.mark.parametrize("dtype", ["float32", "float16", "int8", "int4"])
def test_bits_are_those_of_the_buffers(dtype):
    assert bits_of(LAYOUT, dtype) == filled(dtype)[0].stored_bits
    # 8 bits a code, 16 a scale: of 6 columns, 6 rows and 2 x 3 columns; the bias is float16.
    assert bits_of(LAYOUT, "int8") == 8 * (300 + 54 + 300) + 16 * (6 + 6 + 6) + 16 * 9


def test_int4_has_two_codes_a_byte_and_a_scale_for_64_values():
    assert bits_of(LAYOUT, "int4") == 8 * (150 + 6 * 5 + 200) + 16 * (6 + 6 + 6) + 16 * 9
    tall = {"left": Factor((130, 6), axis=0)}  # three groups of rows a column
    assert bits_of(tall, "int4") == 8 * 130 * 3 + 16 * 3 * 6
    wide = {"right": Factor((6, 130), axis=1)}
    assert bits_of(wide, "int4") == 8 * 6 * 65 + 16 * 6 * 3


@pytest.mark.parametrize("axis", [0, 1])
@pytest.mark.parametrize("size", [1e3, 1, 1e-3, 1e-5])
def test_int4_is_off_by_half_a_level_of_its_group(size, axis, monkeypatch):
    monkeypatch.setattr(factors, "ROW_BLOCK", 100)  # no multiple of a group
    shape = (150, 131)
    values = size * torch.randn(shape, generator=torch.Generator().manual_seed(0))
    values[70:75] *= 20
    matrix = Plain((150, 9), "int4", {"left": Factor(shape, axis=axis)})
    matrix.store("left", values)
    scale = matrix.get_buffer("left_scale").double()
    assert (scale > 0).all()
    spread = scale.repeat_interleave(GROUP, axis).narrow(axis, 0, shape[axis])
    error = (matrix.factor("left").double() - values.double()).abs()
    assert (error <= 0.50001 * spread).all()
    # The scale is the smallest that represents the largest value of a group.
    first = values.narrow(axis, 0, GROUP).double().abs().amax(axis)
    assert (scale.select(axis, 0) <= first / TOP_INT4 * 1.001 + 2**-24).all()


@pytest.mark.parametrize("size", [1e3, 1, 1e-3, 1e-5, 1e-7])
def test_int8_is_off_by_half_a_level_where_fp16_scales_are_coarse_too(size):
    matrix, values = filled("int8", size)
    for name in values.keys() - {"bias", "none"}:
        scale = matrix.get_buffer(f"{name}_scale").double()
        assert (scale > 0).all()
        assert (
            (matrix.factor(name).double() - values[name].double()).abs() <= 0.50001 * scale
        ).all()
        largest = values[name].double().abs().amax(LAYOUT[name].axis, keepdim=True)
        assert (scale <= largest / TOP * 1.001 + 2**-24).all()


@pytest.mark.parametrize("dtype", ["float32", "float16", "int8", "int4"])
def test_gathered_rows_are_those_of_the_whole(dtype):
    matrix, _ = filled(dtype)
    ids = torch.tensor([49, 0, 7, 7])
    assert torch.equal(matrix.factor_rows("left", ids), matrix.factor("left")[ids])
    assert torch.equal(matrix.factor_rows("right", ids[1:2]), matrix.factor("right")[:1])
    assert torch.equal(matrix.factor_rows("stack", ids, dim=1), matrix.factor("stack")[:, ids])
    assert matrix.factor("left").dtype == matrix.factor_rows("left", ids).dtype == torch.float32


@pytest.mark.parametrize("dtype", ["float16", "int8", "int4"])
def test_blocks_make_no_difference(dtype, monkeypatch):
    whole, _ = filled(dtype)
    monkeypatch.setattr(factors, "ROW_BLOCK", 7)
    blocks, _ = filled(dtype)
    for name, buffer in whole.named_buffers():
        assert torch.equal(buffer, blocks.get_buffer(name))


@pytest.mark.parametrize("dtype", ["int8", "int4"])
def test_zero_columns_stay_zero_and_reading_changes_nothing_stored(dtype):
    matrix, values = filled(dtype)
    values["left"][:, 2] = 0
    matrix.store("left", values["left"])
    before = {name: buffer.clone() for name, buffer in matrix.named_buffers()}
    assert (matrix.factor("left")[:, 2] == 0).all()
    matrix.factor("left").zero_()
    assert all(torch.equal(buffer, before[name]) for name, buffer in matrix.named_buffers())


@pytest.mark.parametrize(
    ("dtype", "largest"), [("float16", 70_000), ("int8", 70_000 * 127), ("int4", 70_000 * 7)]
)
def test_a_factor_beyond_float16_is_named(dtype, largest):
    matrix = Plain((50, 9), dtype, LAYOUT)
    for name in ("left", "right"):
        values = torch.zeros(LAYOUT[name].shape)
        values[3, 4] = largest
        with pytest.raises(UserError, match=f"factor {name} is out of float16"):
            matrix.store(name, values)
    matrix.store("left", torch.full((50, 6), 0.9 * largest))


def test_integers_have_no_count_of_floats():
    assert filled("int8")[0].stored_floats is filled("int4")[0].stored_floats is None
    assert (
        filled("float16")[0].stored_floats
        == filled("float32")[0].stored_floats
        == 300 + 54 + 300 + 9
    )
