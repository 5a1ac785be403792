"""Baseline: exact truncated singular value decomposition, E ~ (E W) W^T with W the top k right
singular vectors.

The best rank-k approximation in Frobenius norm (Eckart and Young 1936); k (V + d) floats. With
`weighting`, the best in a norm whose rows count w_i: W are then the top right singular vectors of
diag(sqrt w) E, and E W stays the best left factor. With fisher this is FWSVD (Hsu et al., ICLR
2022) of diag(c) E, c = sqrt(w), as Banaei et al. 2023 use it.

E is read in row blocks, twice (three times for int8), so that it may lie on disk.
"""

from ..formats.low_rank import LowRank
from ..numerics.linalg import right_singular_vectors
from ..numerics.matrices import Rows
from ._base import Context, Method, Plan, budget_bits, infeasible, largest


class SVD(Method):
    """Exact, where the papers' own baselines are randomised and pick their number of iterations on test text."""

    label = "SVD"
    kind = "baseline"
    weighted = True
    supports_streaming = True

    def plan(self, shape: tuple[int, int], ratio: float) -> Plan:
        """See base class."""

        def size(rank: int) -> int:
            return self.bits_of(LowRank.factors(shape, rank))

        rank = largest(size, budget_bits(shape, ratio), min(shape))
        if not rank:
            raise infeasible(self.label, shape, 32 * shape[0] * shape[1] / size(1))
        return Plan(shape, ratio, bits=size(rank), sizes={"rank": rank})

    def fit(self, matrix: Rows, plan: Plan, context: Context) -> LowRank:
        """See base class."""
        weights = (
            None if self.options.weighting == "uniform" else self.row_weights(context, len(matrix))
        )
        basis = right_singular_vectors(matrix, plan.sizes["rank"], weights)
        compressed = LowRank(plan.shape, plan.sizes["rank"], dtype=self.options.factor_dtype)
        compressed.store_rows("left", lambda start, stop: matrix[start:stop] @ basis)
        compressed.store("right", basis.T)
        return compressed
