"""Divide a budget of bits among the weight matrices of a model."""

import math
from collections.abc import Sequence
from typing import NamedTuple

from ..errors import InfeasibleRatio
from ..methods._base import Method

STEPS = 30
"""Bisection steps for the common ratio: its interval shrinks to a billionth."""


class LayerBudget(NamedTuple):
    """A weight matrix whose bits are to be chosen."""

    name: str
    shape: tuple[int, int]
    method: Method
    ratio: float | None = None
    """A fixed ratio; None for the common ratio, which the remaining bits allow."""

    @property
    def dense_bits(self) -> int:
        """Size of the dense fp32 matrix."""
        return 32 * math.prod(self.shape)


def matrix_bits(ratio: float, matrices: int, others: int) -> int:
    """Bits that the compressed matrices may take for a model to reach a ratio.

    Args:
        ratio: fp32 bits of the model / bits stored for it.
        matrices: dense bits of the matrices that are compressed.
        others: bits of all other weights, which stay dense.

    Raises:
        InfeasibleRatio: if the other weights alone take the whole budget.
    """
    budget = math.floor((matrices + others) / ratio) - others
    if budget <= 0:
        most = math.ceil(100 * (matrices + others) / others) / 100
        raise InfeasibleRatio(
            f"weights that are not compressed are {100 * others / (matrices + others):.3g} % of "
            f"the model, whose ratio therefore stays below {most:g}: use a lower ratio, or name "
            "more `modules`"
        )
    return budget


def allocate_ratios(layers: Sequence[LayerBudget], budget: int) -> list[float]:
    """Ratios, fixed or common, at which all matrices together store at most `budget` bits.

    The common ratio is the lowest that keeps the budget, by bisection. A method's sizes come in
    steps, so some bits may remain unused.

    Raises:
        InfeasibleRatio: if the fixed ratios exceed the budget, or a method cannot reach the common
            ratio.
    """
    flexible = [layer for layer in layers if layer.ratio is None]
    remaining = _subtract_fixed(layers, budget)
    if not flexible:
        return [layer.ratio for layer in layers if layer.ratio is not None]
    common = _find_common_ratio(flexible, remaining)
    return [common if layer.ratio is None else layer.ratio for layer in layers]


def _subtract_fixed(layers: Sequence[LayerBudget], budget: int) -> int:
    """Bits that matrices with fixed ratios leave for the others."""
    fixed = [layer for layer in layers if layer.ratio is not None]
    stored = sum(_planned_bits(layer, layer.ratio) for layer in fixed if layer.ratio is not None)
    if stored > budget or stored == budget and len(fixed) < len(layers):
        dense = sum(layer.dense_bits for layer in layers)
        raise InfeasibleRatio(
            f"matrices with a `ratio` of their own store {stored} of {dense} bits, but the budget "
            f"is {budget}: use a lower ratio"
        )
    return budget - stored


def _find_common_ratio(layers: Sequence[LayerBudget], budget: int) -> float:
    """The lowest ratio at which all matrices together store at most `budget` bits."""
    bits_at: dict[tuple[tuple[int, int], Method, float], int] = {}

    def total_bits(ratio: float) -> int:
        total = 0
        for layer in layers:
            key = (layer.shape, layer.method, ratio)
            if key not in bits_at:
                bits_at[key] = _planned_bits(layer, ratio)
            total += bits_at[key]
        return total

    low = 1.0
    high = max(1.0, sum(layer.dense_bits for layer in layers) / budget)
    total_bits(high)  # raises where a method cannot reach it
    for _ in range(STEPS if high > 1 else 0):
        middle = (low + high) / 2
        try:
            is_within_budget = total_bits(middle) <= budget
        except InfeasibleRatio:
            is_within_budget = False
        if is_within_budget:
            high = middle
        else:
            low = middle
    return high


def _planned_bits(layer: LayerBudget, ratio: float) -> int:
    """Bits that a method stores of a matrix at a ratio."""
    try:
        return layer.method.plan(layer.shape, ratio).bits
    except InfeasibleRatio as reason:
        raise InfeasibleRatio(f"{layer.name}: {reason}") from reason
