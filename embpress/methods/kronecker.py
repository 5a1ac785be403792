"""KroneckerBERT's embedding (Tahaei et al., NAACL 2022, section 3.3): E ~ sum_r A_r kron B_r, A_r (V, d/n), B_r (1, n).

The paper's start: the nearest Kronecker product in closed form (Van Loan and Pitsianis 1993). The distillation that follows
in the paper is a protocol of the task, `compress_then_distil`, and open to every method. With B a row, E rearranged to
(V d/n, n) is approximated by rank 1; its best rank-R approximation gives the best sum of R products. A real embedding has
hardly any such structure, so that without the distillation this scores low: it keeps about 1/n of the energy.

Ablations: `n`, `terms`, and `start: random`, the control for the paper's claim that the nearest product is the better start
for distillation: A and B are drawn at random, their products with the mean square of E's entries. With `weighting` the
nearest product is the one in a norm whose rows count w_i.

Differs from the paper:
- no distillation, unless the task asks for it (see above);
- n = 4 misses 4x by the four floats of B, so that n = 6 stands there: a budget is a budget;
- `terms` above 1 adds further products, which the paper uses for its 5.5x model.
"""

from dataclasses import dataclass
from typing import Literal

import torch
from torch import Tensor

from ..errors import InfeasibleRatio, UserError
from ..formats.kronecker import Kronecker
from ..linalg import right_singular_vectors
from .base import Context, Method, Options, Plan, budget_bits


@dataclass(frozen=True)
class KroneckerOptions(Options):
    """Shape and number of products."""

    n: int = 0
    """Columns of B; 0 takes the smallest that divides d and fits the budget."""
    terms: int = 1
    """Kronecker products in the sum."""
    start: Literal["nearest", "random"] = "nearest"

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.terms < 1:
            raise UserError(f"option terms is {self.terms}, but at least one Kronecker product is needed")
        if self.n < 0:
            raise UserError(f"option n is {self.n}, but must be 0 or a divisor of d")
        if self.start == "random" and self.weighting != "uniform":
            raise UserError("Kronecker with start: random fits nothing: leave out option weighting")


class KroneckerBERT(Method):
    """The smallest n that divides d and fits the budget."""

    label = "Kronecker (init only)"
    kind = "paper"
    citation = "tahaei2022kroneckerbert"
    weighted = True
    Options = KroneckerOptions

    def plan(self, shape: tuple[int, int], ratio: float) -> Plan:
        """See base class.

        Raises:
            UserError: if the option n does not divide d, or is below the number of terms.
        """
        rows, d = shape
        budget, terms = budget_bits(shape, ratio), self.options.terms
        possible = [n for n in range(terms, d + 1) if d % n == 0]
        if self.options.n and self.options.n not in possible:
            raise UserError(f"option n is {self.options.n}, but must divide d = {d} and be at least terms = {terms}")
        sizes = {n: self.bits_of(Kronecker.factors(shape, n, terms)) for n in possible if self.options.n in (0, n)}
        for n, size in sizes.items():
            if size <= budget:
                return Plan(shape, ratio, bits=size, sizes={"n": n, "terms": terms})
        reached = ", ".join(f"{32 * rows * d / size:.3g}" for size in sizes.values())
        raise InfeasibleRatio(f"Kronecker reaches {reached or 'no ratio'} on {rows} x {d}: ask for less")

    def fit(self, matrix: Tensor, plan: Plan, context: Context) -> Kronecker:
        """See base class."""
        n, terms = plan.sizes["n"], plan.sizes["terms"]
        rows, d = plan.shape
        compressed = Kronecker(plan.shape, n, terms, self.options.factor_dtype)
        if self.options.start == "random":
            generator = torch.Generator().manual_seed(context.seed)
            size = matrix.square().mean().sqrt() / terms**0.5
            compressed.store("a", torch.randn(terms, rows, d // n, generator=generator) * size)
            compressed.store("b", torch.randn(terms, n, generator=generator))
            return compressed
        rearranged = matrix.reshape(-1, n)  # (V d/n, n): row i d/n + j holds E[i, j n : (j + 1) n]
        uniform = self.options.weighting == "uniform"
        weights = None if uniform else self.row_weights(context, rows).repeat_interleave(d // n)
        basis = right_singular_vectors(rearranged, terms, weights)
        compressed.store("a", (rearranged @ basis).T.reshape(terms, rows, -1))
        compressed.store("b", basis.T)
        return compressed
