"""A budget of bits is divided among the matrices of a model."""

import math

import pytest

from embpress.errors import InfeasibleRatio
from embpress.methods import method_class
from embpress.pipeline.bit_allocation import LayerBudget, allocate_ratios, matrix_bits

SHAPES = {"embedding": (3000, 64), "query": (64, 64), "output": (64, 256)}


def layer_budgets(method="svd", own=None, **options):
    made = method_class(method)(**options)
    return [LayerBudget(name, shape, made, (own or {}).get(name)) for name, shape in SHAPES.items()]


def stored(chosen, ratios):
    return sum(share.method.plan(share.shape, ratio).bits for share, ratio in zip(chosen, ratios))


@pytest.mark.parametrize("method", ["svd", "b23", "kronecker"])
@pytest.mark.parametrize("ratio", [2, 4])
def test_the_budget_is_kept_and_used(method, ratio):
    chosen = layer_budgets(method)
    budget = matrix_bits(ratio, sum(s.dense_bits for s in chosen), 0)
    ratios = allocate_ratios(chosen, budget)
    assert len(set(ratios)) == 1 and stored(chosen, ratios) <= budget
    # At any smaller common ratio more would be stored than may be.
    assert stored(chosen, [r * (1 - 1e-6) for r in ratios]) > budget


def test_a_models_ratio_counts_what_stays():
    matrices = 1000
    others = 200
    assert matrix_bits(2, matrices, others) == 400 and matrix_bits(2, matrices, 0) == 500
    with pytest.raises(
        InfeasibleRatio,
        match=r"16.7 % of the model.* below 6: use a lower ratio.*`modules`",
    ):
        matrix_bits(6, matrices, others)


def test_own_ratios_stand_and_the_others_share_the_rest():
    chosen = layer_budgets(own={"embedding": 10})
    budget = matrix_bits(3, sum(s.dense_bits for s in chosen), 0)
    ratios = allocate_ratios(chosen, budget)
    assert ratios[0] == 10 and ratios[1] == ratios[2] == 1.0  # there is room for all of the rest
    ratios = allocate_ratios(chosen, stored(chosen[:1], [10]) + 100_000)
    assert ratios[0] == 10 and ratios[1] == ratios[2] > 1
    assert stored(chosen[1:], ratios[1:]) <= 100_000


def test_own_ratios_alone_must_keep_the_budget():
    chosen = layer_budgets(own={"embedding": 2, "query": 2, "output": 2})
    bits = stored(chosen, [2, 2, 2])
    assert allocate_ratios(chosen, bits) == [2, 2, 2]
    with pytest.raises(
        InfeasibleRatio,
        match=f"`ratio`.* {bits} of {sum(s.dense_bits for s in chosen)} bits.* {bits - 1}: use",
    ):
        allocate_ratios(chosen, bits - 1)


def test_the_matrix_that_cannot_reach_the_ratio_is_named():
    chosen = layer_budgets("integer", bits=8)
    with pytest.raises(InfeasibleRatio, match="embedding: .*3.87"):
        allocate_ratios(chosen, matrix_bits(5, sum(s.dense_bits for s in chosen), 0))


def test_a_ratio_of_one_leaves_ratios_at_one():
    chosen = layer_budgets("identity")
    assert allocate_ratios(chosen, sum(s.dense_bits for s in chosen)) == [1.0] * 3
    assert math.isclose(chosen[0].dense_bits, 32 * 3000 * 64)
