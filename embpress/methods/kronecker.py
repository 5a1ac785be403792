"""KroneckerBERT's embedding (Tahaei et al., NAACL 2022, section 3.3): E ~ A kron B, A (V, d/n), B (1, n).

Initialisation only: the nearest Kronecker product in closed form (Van Loan and Pitsianis 1993), without the distillation
that the paper trains it with afterwards. With B a row, E rearranged to (V d/n, n) is approximated by rank 1; its best rank-R
approximation gives the best sum of R products. A real embedding has hardly any such structure, so that without the
distillation this scores low: it keeps about 1/n of the energy.

Differs from the paper:
- no distillation (see above);
- n = 4 misses 4x by the four floats of B, so that n = 6 stands there: a budget is a budget;
- `terms` above 1 adds further products, which the paper uses for its 5.5x model.
"""

from dataclasses import dataclass

from torch import Tensor

from ..errors import InfeasibleRatio, UserError
from ..formats.kronecker import Kronecker
from ..linalg import right_singular_vectors
from .base import Context, Method, Options, Plan, budget_bits


@dataclass(frozen=True)
class KroneckerOptions(Options):
    """Number of products."""

    terms: int = 1
    """Kronecker products in the sum."""

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.terms < 1:
            raise UserError(f"option terms is {self.terms}, but at least one Kronecker product is needed")


class KroneckerBERT(Method):
    """The smallest n that divides d and fits the budget."""

    label = "Kronecker (init only)"
    kind = "paper"
    citation = "tahaei2022kroneckerbert"
    Options = KroneckerOptions

    def plan(self, shape: tuple[int, int], ratio: float) -> Plan:
        """See base class."""
        rows, d = shape
        budget, terms = budget_bits(shape, ratio), self.options.terms
        sizes = {n: terms * self.factor_bits * (rows * d // n + n) for n in range(1, d + 1) if d % n == 0 and terms <= n}
        for n, size in sizes.items():
            if size <= budget:
                return Plan(shape, ratio, bits=size, sizes={"n": n, "terms": terms})
        reached = ", ".join(f"{32 * rows * d / size:.3g}" for size in sizes.values())
        raise InfeasibleRatio(f"Kronecker reaches {reached or 'no ratio'} on {rows} x {d}: ask for less")

    def fit(self, matrix: Tensor, plan: Plan, context: Context) -> Kronecker:
        """See base class."""
        n, terms = plan.sizes["n"], plan.sizes["terms"]
        rearranged = matrix.reshape(-1, n)  # (V d/n, n): row i d/n + j holds E[i, j n : (j + 1) n]
        basis = right_singular_vectors(rearranged, terms)
        compressed = Kronecker(plan.shape, n, terms, self.options.factor_dtype)
        compressed.b.copy_(basis.T)
        compressed.a.copy_((rearranged @ basis).T.reshape(terms, plan.shape[0], -1))
        return compressed
