"""Control: the uncompressed matrix, the upper bound of every table."""

from torch import Tensor

from ..formats.dense import DenseRows
from ._base import Context, Method, Plan


class Identity(Method):
    """Stores the matrix itself: ratio 1, whatever ratio is requested."""

    label = "uncompressed"
    kind = "control"

    def plan(self, shape: tuple[int, int], ratio: float) -> Plan:
        """See base class."""
        return Plan(shape, ratio, bits=32 * shape[0] * shape[1], sizes={})

    def fit(self, matrix: Tensor, plan: Plan, context: Context) -> DenseRows:
        """See base class."""
        return DenseRows(plan.shape, matrix)
