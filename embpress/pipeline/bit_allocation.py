"""Share a budget of bits among the weight matrices of a model."""

import math
from collections.abc import Sequence
from typing import NamedTuple

from ..errors import InfeasibleRatio
from ..methods._base import Method, Plan

STEPS = 30
"""Halvings of the interval in which the common ratio lies: to a billionth of it."""


class Share(NamedTuple):
    """A matrix that is to be compressed."""

    name: str
    shape: tuple[int, int]
    method: Method
    ratio: float | None = None
    """The ratio that it has of its own; None takes part in what is left."""

    @property
    def dense_bits(self) -> int:
        """As fp32."""
        return 32 * math.prod(self.shape)


def matrix_bits(ratio: float, matrices: int, others: int) -> int:
    """Bits that matrices may take for a whole model to reach a ratio.

    Args:
        ratio: of all the model's fp32 bits to those stored.
        matrices: their dense bits.
        others: bits of all else, which stays as it is.

    Raises:
        InfeasibleRatio: if what stays leaves nothing.
    """
    budget = math.floor((matrices + others) / ratio) - others
    if budget <= 0:
        most = (matrices + others) / others
        raise InfeasibleRatio(
            f"weights that are not compressed are {100 * others / (matrices + others):.3g} % of the model, which so reaches "
            f"less than {math.ceil(100 * most) / 100:g}: ask for less, or name more `modules`"
        )
    return budget


def shared_ratios(shares: Sequence[Share], budget: int) -> list[float]:
    """Ratios of all matrices, own or common, at which together they store at most `budget` bits.

    The common ratio is the least that keeps the budget. Sizes come in steps, so that some bits may
    be left over.

    Raises:
        InfeasibleRatio: if own ratios leave too little, or a method cannot reach the common ratio.
    """
    plans: dict[tuple[tuple[int, int], Method, float], Plan] = {}

    def bits(share: Share, ratio: float) -> int:
        key = share.shape, share.method, ratio
        if key not in plans:
            try:
                plans[key] = share.method.plan(share.shape, ratio)
            except InfeasibleRatio as reason:
                raise InfeasibleRatio(f"{share.name}: {reason}") from reason
        return plans[key].bits

    own = sum(bits(share, share.ratio) for share in shares if share.ratio is not None)
    others = [share for share in shares if share.ratio is None]
    left = budget - own
    dense = sum(share.dense_bits for share in others)
    if left < 0 or others and left == 0:
        every = sum(share.dense_bits for share in shares)
        raise InfeasibleRatio(
            f"matrices with a `ratio` of their own store {own} of {every} bits, but only {budget} may be: ask for less"
        )
    if not others:
        return [share.ratio for share in shares if share.ratio is not None]

    def total(ratio: float) -> int:
        return sum(bits(share, ratio) for share in others)

    low = 1.0
    high = max(1.0, dense / left)
    total(high)  # which every method has to reach
    for _ in range(STEPS if high > 1 else 0):
        middle = (low + high) / 2
        try:
            low, high = (low, middle) if total(middle) <= left else (middle, high)
        except InfeasibleRatio:
            low = middle
    return [high if share.ratio is None else share.ratio for share in shares]
