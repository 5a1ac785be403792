"""Control: rows drawn from a Gaussian with the matrix's mean and covariance. The floor of every
table.

What a model scores on it, it scores without knowing which token is which beyond telling them apart.
"""

import torch
from torch import Tensor

from ..formats.dense import DenseRows
from ._base import Context, Method, Plan


class Random(Method):
    """Stores the drawn rows; answers any ratio with ratio 1."""

    alias = "random"
    label = "random rows"
    kind = "control"

    def plan(self, shape: tuple[int, int], ratio: float) -> Plan:
        """See base class."""
        return Plan(shape, ratio, bits=32 * shape[0] * shape[1], sizes={})

    def fit(self, matrix: Tensor, plan: Plan, context: Context) -> DenseRows:
        """See base class."""
        generator = torch.Generator().manual_seed(context.seed)
        mean = matrix.mean(0)
        # The root by eigenvectors: a rank-deficient covariance has no Cholesky factor.
        values, vectors = torch.linalg.eigh(
            torch.cov(matrix.double().T).reshape(matrix.shape[1], matrix.shape[1])
        )
        root = (vectors * values.clamp_min(0).sqrt()).float()
        return DenseRows(plan.shape, torch.randn(plan.shape, generator=generator) @ root.T + mean)
