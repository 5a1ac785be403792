"""Control: every row is the mean row. A model scores on it what it scores without its tokens."""

from torch import Tensor

from ..formats.constant import ConstantRows
from ._base import Context, Method, Plan


class MeanRow(Method):
    """Stores d floats at any ratio."""

    alias = "mean"
    label = "mean row"
    kind = "control"

    def plan(self, shape: tuple[int, int], ratio: float) -> Plan:
        """See base class."""
        return Plan(shape, ratio, bits=32 * shape[1], sizes={})

    def fit(self, matrix: Tensor, plan: Plan, context: Context) -> ConstantRows:
        """See base class."""
        return ConstantRows(plan.shape, matrix.mean(0))
