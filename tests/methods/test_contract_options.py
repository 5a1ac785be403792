"""What every method must do with the options that all have.

Precision of factors and weights of rows.
"""

import pytest
import torch

from embpress.errors import InfeasibleRatio, UserError
from embpress.fidelity.reconstruction import reconstruction
from embpress.methods import compress, method_class
from embpress.methods._base import Context, budget_bits

from .samples import (
    AT_MOST_4_BITS,
    CONTROLS,
    DTYPES,
    QUICK,
    context_of,
    feasible,
    fitted,
    matrix_of,
)


@pytest.mark.parametrize("dtype", DTYPES[1:])
@pytest.mark.parametrize("shape", [(600, 48), (70, 31)])
@pytest.mark.parametrize("ratio", [1.5, 4, 10])
def test_narrow_factors_are_planned_exactly_and_decode_alike_by_row_and_by_product(
    name, dtype, shape, ratio
):
    if not method_class(name).has_factors:
        return
    try:
        plan, compressed = fitted(name, *shape, ratio, factor_dtype=dtype, **QUICK.get(name, {}))
    except InfeasibleRatio:
        return
    assert compressed.stored_bits == plan.bits
    assert name in CONTROLS or plan.bits <= budget_bits(shape, ratio)
    dense = compressed.dense()
    assert torch.isfinite(dense).all()
    ids = torch.tensor([shape[0] - 1, 0, 3, 3])
    torch.testing.assert_close(compressed.rows(ids), dense[ids], rtol=1e-5, atol=1e-6)
    x = torch.randn(2, 3, shape[1], generator=torch.Generator().manual_seed(1))
    torch.testing.assert_close(compressed.product(x), x @ dense.T, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("dtype", DTYPES[1:])
def test_narrow_factors_lose_little_at_the_same_sizes(name, dtype):
    """The same sizes in float32 are a lower ratio.

    What rounding adds is small against what compressing loses.
    """
    if not method_class(name).has_factors:
        with pytest.raises(UserError, match="stores no factors: leave out option factor_dtype"):
            method_class(name)(factor_dtype=dtype)
        return
    method = method_class(name)(factor_dtype=dtype, **QUICK.get(name, {}))
    wide = method_class(name)(**QUICK.get(name, {}))
    matrix = matrix_of(600, 48)
    context = context_of(600)
    plan = method.plan((600, 48), feasible(name))
    found, wanted = (m.fit(matrix, plan, context) for m in (method, wide))
    found.prepare()
    wanted.prepare()
    lost, lost_in_float32 = ((matrix - m.dense()).norm() for m in (found, wanted))
    rounding = 0.2 if dtype == "int4" else 0.02
    assert lost <= 1.02 * lost_in_float32 + rounding * matrix.norm()


def test_weights_of_rows_move_the_error_to_rows_that_count_less(name):
    method = method_class(name)
    if not method.weighted:
        with pytest.raises(UserError, match="cannot weight rows"):
            method(weighting="counts")
        return
    matrix = matrix_of(600, 48)
    context = context_of(600)
    ratio = feasible(name, ratios=[10] if name in AT_MOST_4_BITS else [4, 7])
    plain, weighted = (
        compress(matrix, name, ratio, context, weighting=w) for w in ("uniform", "counts")
    )
    errors = [
        reconstruction(matrix, c, context.counts).weighted_relative_error for c in (plain, weighted)
    ]
    assert errors[1] < errors[0]
    with pytest.raises(UserError, match="needs token counts"):
        compress(matrix, name, ratio, weighting="counts")
    equal = Context(torch.zeros(600, dtype=torch.int64), context.special_ids)
    assert torch.equal(
        compress(matrix, name, ratio, equal, weighting="counts").dense(), plain.dense()
    )
    tempered = [
        compress(matrix, name, ratio, context, weighting="counts", count_power=p) for p in (0, 0.5)
    ]
    assert torch.equal(tempered[0].dense(), plain.dense())
    between = reconstruction(matrix, tempered[1], context.counts).weighted_relative_error
    assert between < errors[0]
    for wrong in (
        {"weighting": "uniform", "count_power": 0.5},
        {"weighting": "counts", "count_power": -1},
        {"weighting": "counts", "count_power": 5.0},
    ):
        with pytest.raises(UserError, match="count_power"):
            method(**wrong)


@pytest.mark.parametrize("dtype", ["float16", "int8", "int4"])
def test_factors_beyond_float16_are_named(name, dtype):
    if name in CONTROLS or not method_class(name).has_factors:
        return
    with pytest.raises(UserError, match=r"factor \w+ .*float16.*factor_dtype float32"):
        compress(
            matrix_of(600, 48) * 1e10,
            name,
            feasible(name),
            context_of(600),
            factor_dtype=dtype,
            **QUICK.get(name, {}),
        )
