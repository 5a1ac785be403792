"""Control: every row is the mean row.

What a model scores on it, it scores without any token's identity.
"""

from torch import Tensor

from ..formats.constant import ConstantRows
from ._base import Context, Method, Plan


class Mean(Method):
    """Stores d floats, whatever the ratio asked."""

    alias = "mean"
    label = "mean row"
    kind = "control"

    def plan(self, shape: tuple[int, int], ratio: float) -> Plan:
        """See base class."""
        return Plan(shape, ratio, bits=32 * shape[1], sizes={})

    def fit(self, matrix: Tensor, plan: Plan, context: Context) -> ConstantRows:
        """See base class."""
        return ConstantRows(plan.shape, matrix.mean(0))
