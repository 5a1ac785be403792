"""Baseline: vocabulary trimming. The most frequent tokens stay, in the tokenizer as in the model.

Not a file of its own method, as it compresses models and not matrices: `compress_model` and studies
run it (`export.trimming`, `pipeline.trimmed_checkpoint`). Here is what tables say about it.
"""

from torch import Tensor

from ..formats._base import CompressedMatrix
from . import TRIMMING, resolve_name
from ._base import Context, Method, Plan, budget_bits


class VocabularyTrimming(Method):
    """The largest vocabulary of which the float32 rows fit the budget."""

    label = "vocabulary trimming"
    kind = "baseline"
    has_factors = False

    def plan(self, shape: tuple[int, int], ratio: float) -> Plan:
        """See base class. Whether the tokenizer can do without the other tokens is not known."""
        rows, d = shape
        n = min(rows, budget_bits(shape, ratio) // (32 * d))
        return Plan(shape, ratio, bits=32 * n * d, sizes={"n_kept": n})

    def fit(self, matrix: Tensor, plan: Plan, context: Context) -> CompressedMatrix:
        """A matrix alone has no tokenizer.

        Raises:
            UserError: always.
        """
        resolve_name(TRIMMING)
        raise AssertionError("resolve_name refuses the method")
