"""A budget is spent: what a method stores is at most 2 % below what it may store."""

import pytest

from embpress.errors import InfeasibleRatio
from embpress.methods import method_class
from embpress.methods._base import budget_bits

from .samples import CONTROLS

SHAPES = [(30_522, 384), (49_152, 576), (250_037, 384), (50_257, 768), (32_000, 4096)]
RATIOS = [4, 5, 7, 8, 10, 13, 16, 20, 25, 30]
MOST_UNUSED = 0.02

RANK = "a rank is a whole number of columns, as in the papers' sizes"
EXCEPTIONS = {
    "bitshift_trellis": (0.51, "a value has at most 4 bits, which are spent from 8x"),
    "direction_autoencoder": (0.08, RANK),
    "e8_lattice": (0.51, "a value has at most 4 bits, which are spent from 8x"),
    "gguf": (0.45, "a tensor has one of three types"),
    "grouped_integer": (0.3, "libraries offer these widths, and one for a matrix"),
    "kronecker": (0.51, "columns of B divide d"),
    "normal_float": (0.45, "there is one width"),
    "offline_autoencoder": (0.08, "a latent is a whole number of columns, as in the paper's sizes"),
    "product_quantization": (0.15, "from 5x a column has fewer than 8 bits: all have as many"),
    "residual_binary_autoencoder": (0.03, "the codes of a row are whole bytes"),
    "svd": (0.08, RANK),
}
"""The most unused share of methods that cannot spend a budget, and why.

Tables show the achieved ratio beside each number.
"""


def unused_shares(name, shape):
    """Shares of the budgets of all feasible ratios that are not stored."""
    shares = []
    for ratio in RATIOS:
        try:
            plan = method_class(name)().plan(shape, ratio)
        except InfeasibleRatio:
            continue
        shares.append(1 - plan.bits / budget_bits(shape, ratio))
    return shares


@pytest.mark.parametrize("shape", SHAPES)
def test_at_most_two_percent_of_a_budget_are_unused(name, shape):
    if name in CONTROLS:
        pytest.skip("controls have no budget")
    shares = unused_shares(name, shape)
    most, _ = EXCEPTIONS.get(name, (MOST_UNUSED, ""))
    assert shares and min(shares) >= 0
    assert max(shares) <= most, [f"{share:.1%}" for share in shares]


@pytest.mark.parametrize("name", sorted(EXCEPTIONS))
def test_exceptions_are_necessary(name):
    assert max(share for shape in SHAPES for share in unused_shares(name, shape)) > MOST_UNUSED
