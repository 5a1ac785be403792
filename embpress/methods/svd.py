"""Baseline: exact truncated singular value decomposition, E ~ (E W) W^T.

W has the top k right singular vectors as columns: the best rank-k approximation in Frobenius norm
(Eckart and Young 1936), k (V + d) floats. With option `weighting`, row i counts w_i: W then has the
top right singular vectors of diag(sqrt w) E, and E W stays the best left factor. With `fisher` or
`l1_sensitivity` c this is FWSVD (Hsu et al., ICLR 2022), the SVD of diag(c) E, as Banaei et al.
2023 use it: w_i = c_i^2, where their autoencoder multiplies a row's error by c_i.

Differs from the papers' own SVD baselines: they are randomized, with a number of iterations chosen
on test text; this one is exact.
"""

from ..formats.low_rank import LowRank
from ..numerics.linalg import right_singular_vectors
from ..numerics.matrices import Rows
from ._base import Context, Method, Plan, budget_bits, infeasible, largest


class SVD(Method):
    """The largest rank that fits the budget."""

    label = "SVD"
    kind = "baseline"
    weighted = True
    sensitivity_power = 2
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
        """See base class. The matrix is read twice, three times for int8 factors."""
        uniform = self.options.weighting == "uniform"
        weights = None if uniform else self.row_weights(context, len(matrix))
        basis = right_singular_vectors(matrix, plan.sizes["rank"], weights)
        compressed = LowRank(plan.shape, plan.sizes["rank"], dtype=self.options.factor_dtype)
        compressed.store_rows("left", lambda start, stop: matrix[start:stop] @ basis)
        compressed.store("right", basis.T)
        return compressed
