"""Baseline: the hashing trick (Weinberger, Dasgupta, Langford, Smola and Attenberg, ICML 2009) on
the ids of an embedding.

A hash of the id names one of k stored rows: nothing else is stored. Rows that collide share their
(weighted) mean, which is the least squared error for given collisions. It is the simplest of the
embeddings of recommender systems, where tables are trained with their collisions; here it is fitted
to a table that exists.
"""

import torch
from torch import Tensor

from ..formats.shared_rows import SharedRows
from ._base import Context, Method, Plan, budget_bits, infeasible, largest


class RowHashing(Method):
    """The largest number of rows that fits the budget."""

    label = "hashed rows"
    kind = "baseline"
    weighted = True

    def plan(self, shape: tuple[int, int], ratio: float) -> Plan:
        """See base class."""

        def size(n_shared: int) -> int:
            return self.bits_of(SharedRows.factors(shape, n_shared))

        buckets = largest(size, budget_bits(shape, ratio), shape[0])
        if not buckets:
            raise infeasible(self.label, shape, 32 * shape[0] * shape[1] / size(1))
        return Plan(shape, ratio, size(buckets), {"buckets": buckets})

    def fit(self, matrix: Tensor, plan: Plan, context: Context) -> SharedRows:
        """See base class."""
        buckets = plan.sizes["buckets"]
        compressed = SharedRows(
            plan.shape, buckets, hashed=True, seed=context.seed, dtype=self.options.factor_dtype
        )
        weights = self.row_weights(context, len(matrix))
        weighted = matrix * weights[:, None]
        total = torch.zeros(buckets, plan.shape[1]).index_add_(0, compressed.index, weighted)
        count = torch.zeros(buckets).index_add_(0, compressed.index, weights)
        compressed.store("shared", total / count.clamp_min(1e-30)[:, None])
        return compressed
