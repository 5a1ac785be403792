"""Control: rows drawn from a Gaussian with the matrix's mean and covariance, the floor of a table.

A model scores on it what it scores when it can tell tokens apart, but not what each of them means.
"""

import torch
from torch import Tensor

from ..formats.dense import DenseRows
from ._base import Context, Method, Plan


class RandomRows(Method):
    """Stores the drawn rows: ratio 1, whatever ratio is requested."""

    alias = "random"
    label = "random rows"
    kind = "control"

    def plan(self, shape: tuple[int, int], ratio: float) -> Plan:
        """See base class."""
        return Plan(shape, ratio, bits=32 * shape[0] * shape[1], sizes={})

    def fit(self, matrix: Tensor, plan: Plan, context: Context) -> DenseRows:
        """See base class."""
        d = matrix.shape[1]
        generator = torch.Generator().manual_seed(context.seed)
        # The root by eigenvectors: a rank-deficient covariance has no Cholesky factor.
        values, vectors = torch.linalg.eigh(torch.cov(matrix.double().T).reshape(d, d))
        root = (vectors * values.clamp_min(0).sqrt()).float()
        rows = torch.randn(plan.shape, generator=generator) @ root.T
        return DenseRows(plan.shape, rows + matrix.mean(0))
