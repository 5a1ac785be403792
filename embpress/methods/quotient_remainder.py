"""Baseline: the quotient-remainder trick (Shi, Mudigere, Naumov and Yang, KDD 2020), compositional
embeddings of complementary partitions, fitted to a table that exists.

Row i is the product, entry by entry, of a row for the quotient of i and a row for its remainder
(section 3; the paper's best operation), or their sum. Each pair of rows belongs to one id. The
factors have the least (weighted) squared error that alternating least squares finds: with one
factor given, each row of the other has a closed form.

Differs from the paper: the tables are fitted, not trained with a model. Any number of quotients is
possible, i n // V instead of i // m, so that the budget is filled.

Option: `operation`, multiply or add.
"""

import math
from dataclasses import dataclass
from typing import Literal

import torch
from torch import Tensor

from ..formats.quotient_remainder import QuotientRemainder
from ._base import Context, Method, Options, Plan, budget_bits, infeasible

ROUNDS = 12
"""Times that both factors are solved."""


@dataclass(frozen=True)
class QuotientRemainderOptions(Options):
    """How the two rows are composed."""

    operation: Literal["multiply", "add"] = "multiply"


class QuotientRemainderTrick(Method):
    """As few remainders, and as many quotients, as the budget allows."""

    label = "quotient-remainder"
    kind = "baseline"
    weighted = True
    Options = QuotientRemainderOptions

    def _size(self, shape: tuple[int, int], quotients: int, remainders: int) -> int:
        """Bits stored."""
        return self.bits_of(QuotientRemainder.factors(shape, quotients, remainders))

    def plan(self, shape: tuple[int, int], ratio: float) -> Plan:
        """See base class."""
        n_rows, d = shape
        row_bits = self._size(shape, 1, 0)
        stored_rows = budget_bits(shape, ratio) // row_bits
        # With m remainders a quotient has at most m ids, if there are at least V / m quotients.
        for remainders in range(1, math.isqrt(n_rows) + 2):
            quotients = min(stored_rows - remainders, n_rows)
            if quotients > 0 and -(-n_rows // quotients) <= remainders:
                sizes = {"quotients": quotients, "remainders": remainders}
                return Plan(shape, ratio, self._size(shape, quotients, remainders), sizes)
        least = min(m - (-n_rows // m) for m in range(1, math.isqrt(n_rows) + 2))
        raise infeasible(self.label, shape, 32 * n_rows * d / (row_bits * least))

    def fit(self, matrix: Tensor, plan: Plan, context: Context) -> QuotientRemainder:
        """See base class."""
        operation = self.options.operation
        compressed = QuotientRemainder(
            plan.shape,
            plan.sizes["quotients"],
            plan.sizes["remainders"],
            operation,
            self.options.factor_dtype,
        )
        weights = self.row_weights(context, len(matrix))
        positions = compressed.positions(torch.arange(len(matrix)))
        solve = _solve_products if operation == "multiply" else _solve_sums
        neutral = torch.ones if operation == "multiply" else torch.zeros
        factors = [
            torch.zeros(plan.sizes["quotients"], plan.shape[1]),
            neutral(plan.sizes["remainders"], plan.shape[1]),
        ]
        for round_number in range(ROUNDS):
            for k in (0, 1):
                other = factors[1 - k].index_select(0, positions[1 - k])
                factors[k] = solve(matrix, other, weights, positions[k], len(factors[k]))
            context.progress(f"round {round_number + 1}/{ROUNDS}")
        if operation == "multiply":
            factors = _normalize(*factors)
        compressed.store("quotient", factors[0])
        compressed.store("remainder", factors[1])
        return compressed


def _solve_products(
    matrix: Tensor, other: Tensor, weights: Tensor, position: Tensor, n: int
) -> Tensor:
    """Rows (n, d) of one factor of a product, given those of the other one, (V, d)."""
    weighted = other * weights[:, None]
    shape = (n, matrix.shape[1])
    right = torch.zeros(shape).index_add_(0, position, weighted * matrix)
    normal = torch.zeros(shape).index_add_(0, position, weighted.mul_(other))
    return right / normal.clamp_min(1e-30)


def _solve_sums(matrix: Tensor, other: Tensor, weights: Tensor, position: Tensor, n: int) -> Tensor:
    """Rows (n, d) of one summand, given those of the other one, (V, d)."""
    residual = (matrix - other) * weights[:, None]
    total = torch.zeros(n, matrix.shape[1]).index_add_(0, position, residual)
    count = torch.zeros(n).index_add_(0, position, weights)
    return total / count.clamp_min(1e-30)[:, None]


def _normalize(quotient: Tensor, remainder: Tensor) -> list[Tensor]:
    """The same products, from remainders whose columns have root mean square 1."""
    scale = remainder.square().mean(0).sqrt().clamp_min(1e-30)
    return [quotient * scale, remainder / scale]
