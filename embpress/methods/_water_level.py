"""One water level for all matrices of a model, at which their codes together fill a budget.

At the least loss for a number of bits, a bit saves the same loss in every matrix: reverse
water-filling (Cover and Thomas, section 10.3.3) over all matrices. A matrix's code at level c
accepts a loss proportional to c^2 for a bit, whatever its weights, so that this is one level.
"""

from collections.abc import Callable, Mapping

from ..errors import InfeasibleRatio
from ..formats._base import CompressedMatrix
from ._base import Context
from ._layer_code import LayerCoder

Codes = dict[str, CompressedMatrix]
"""Codes of matrices by name."""

FILLED = 0.997
"""Least share of the budget to use in the first trials."""
PATIENCE = 3
"""Trials after which LEAST_FILLED of the budget is enough: scales take few values, so that bits
change by jumps of up to a hundredth."""
LEAST_FILLED = 0.985
WITHIN, BEYOND = 0.99, 1.01
"""Shares of the budget to aim at until a trial keeps it, and until one exceeds it."""
TRIALS = 10
"""Levels tried on all matrices."""
BISECTIONS = 60
LOWEST, HIGHEST = -60.0, 60.0
"""Range of log2 of the water level."""
LONGEST_MOVE = 2.0
"""Largest change of log2 of the level from a trial to the next."""


def code_matrices(
    coders: Mapping[str, LayerCoder], budget: int, context: Context, one_level: bool = True
) -> Codes:
    """Code matrices within a budget, at one level or with the same bits per weight for each.

    Args:
        coders: coders of the matrices by name.
        budget: bits of all codes together.
        context: where progress is reported.
        one_level: whether the matrices share a water level.

    Raises:
        InfeasibleRatio: if the codes do not fit the budget at any level.
    """
    if one_level:
        return code_at_one_level(coders, budget, context)
    codes: Codes = {}
    for name, share in equal_shares(coders, budget).items():
        codes |= code_at_one_level({name: coders[name]}, share, context)
    if count_stored_bits(codes) > budget:
        raise _does_not_fit(budget)
    return codes


def count_stored_bits(codes: Codes) -> int:
    """Bits of all codes."""
    return sum(code.stored_bits for code in codes.values())


def equal_shares(coders: Mapping[str, LayerCoder], budget: int) -> dict[str, int]:
    """Bits of each matrix at the same number of bits per weight, by name.

    Small matrices, whose exponents alone take more than their share, get more.

    Args:
        coders: coders of the matrices by name.
        budget: bits of all codes together.
    """
    small: dict[str, int] = {}
    while True:
        shared = sum(c.weight.size for name, c in coders.items() if name not in small)
        rate = (budget - sum(small.values())) / max(shared, 1)
        grown = {
            name: _least_bits(coder)
            for name, coder in coders.items()
            if name not in small and _least_bits(coder) > rate * coder.weight.size
        }
        if not grown:
            break
        small |= grown
    return {
        name: small.get(name) or int(rate * coder.weight.size) for name, coder in coders.items()
    }


def _least_bits(coder: LayerCoder) -> int:
    """Bits of a matrix whose exponents take most of them."""
    n, d = coder.weight.shape
    return 16 * (n + d) + n * d // 4 + 500


def code_at_one_level(coders: Mapping[str, LayerCoder], budget: int, context: Context) -> Codes:
    """Code matrices at the lowest level found whose bits keep a budget.

    What the level leaves of the budget is filled with codes of the next lower level that was tried.

    Args:
        coders: coders of the matrices by name.
        budget: bits of all codes together.
        context: where progress is reported.

    Raises:
        InfeasibleRatio: if the codes do not fit the budget at any level.
    """
    log_level = predict_level(coders, budget)
    within: Codes | None = None
    filled: Codes | None = None
    beyond: Codes = {}
    for trial in range(TRIALS):
        codes: Codes = {name: coder.encode(log_level) for name, coder in coders.items()}
        bits = count_stored_bits(codes)
        context.progress(f"level {trial + 1}/{TRIALS}: {bits / max(budget, 1):.4f} of the bits")
        if bits > budget:
            beyond = min(beyond or codes, codes, key=count_stored_bits)
        else:
            within = max(within or codes, codes, key=count_stored_bits)
        if within is None:
            aim = WITHIN
        else:
            filled = _fill(within, beyond, budget)
            enough = FILLED if trial + 1 < PATIENCE else LEAST_FILLED
            if count_stored_bits(filled) >= enough * budget:
                return filled
            aim = BEYOND if not beyond and len(coders) > 1 else (1 + FILLED) / 2
        following = predict_level(coders, aim * budget)
        log_level = min(max(following, log_level - LONGEST_MOVE), log_level + LONGEST_MOVE)
    if filled is None:
        raise _does_not_fit(budget)
    return filled


def _fill(within: Codes, beyond: Codes, budget: int) -> Codes:
    """Replace codes by those of a lower level while these fit the budget, the largest first.

    A bit saves nearly the same loss in every matrix and at both levels, so that it matters little
    which matrices are of which level.
    """
    filled = dict(within)
    room = budget - count_stored_bits(within)
    longer = {name: code.stored_bits - within[name].stored_bits for name, code in beyond.items()}
    for name in sorted(longer, key=lambda name: longer[name], reverse=True):
        if longer[name] <= room:
            filled[name] = beyond[name]
            room -= longer[name]
    return filled


def predict_level(coders: Mapping[str, LayerCoder], budget: float) -> float:
    """log2 of the water level at which matrices take so many bits together, as predicted."""
    return _falling_root(
        lambda level: sum(coder.predicted_bits(level) for coder in coders.values()) - budget
    )


def _does_not_fit(budget: int) -> InfeasibleRatio:
    """The error for a budget that no code keeps."""
    return InfeasibleRatio(
        f"the matrices do not fit into {max(budget, 0) // 8} bytes: use a lower ratio, or allow "
        "more bytes"
    )


def _falling_root(function: Callable[[float], float]) -> float:
    """Where a falling function of log2 of the level is 0, by bisection."""
    low, high = LOWEST, HIGHEST
    for _ in range(BISECTIONS):
        middle = (low + high) / 2
        if function(middle) > 0:
            low = middle
        else:
            high = middle
    return high
