"""Baseline: exact truncated singular value decomposition, E ~ (E W) W^T with W the top k right singular vectors.

The best rank-k approximation in Frobenius norm (Eckart and Young 1936); k (V + d) floats.
"""

from torch import Tensor

from ..formats.low_rank import LowRank
from ..linalg import right_singular_vectors
from .base import Context, Method, Plan, budget_bits, infeasible


class SVD(Method):
    """Exact, where the papers' own baselines are randomised and pick their number of iterations on test text."""

    label = "SVD"
    kind = "baseline"

    def plan(self, shape: tuple[int, int], ratio: float) -> Plan:
        """See base class."""
        a_rank = self.factor_bits * sum(shape)
        rank = min(budget_bits(shape, ratio) // a_rank, *shape)
        if rank < 1:
            raise infeasible(self.label, shape, 32 * shape[0] * shape[1] / a_rank)
        return Plan(shape, ratio, bits=rank * a_rank, sizes={"rank": rank})

    def fit(self, matrix: Tensor, plan: Plan, context: Context) -> LowRank:
        """See base class."""
        basis = right_singular_vectors(matrix, plan.sizes["rank"])
        compressed = LowRank(plan.shape, plan.sizes["rank"], dtype=self.options.factor_dtype)
        compressed.left.copy_(matrix @ basis)
        compressed.right.copy_(basis.T)
        return compressed
