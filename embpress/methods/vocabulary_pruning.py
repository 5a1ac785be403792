"""Baseline: vocabulary pruning. The most frequent rows are kept, all others share one row.

This is common practice for multilingual models. It stores N d floats, d floats of the shared row
and a bitmap of V bits. Unlike a pruned tokenizer it keeps the token ids, and does not split a rare
word into kept pieces.

Options: `others` chooses the shared row.
"""

from dataclasses import dataclass
from typing import Literal

import torch
from torch import Tensor

from ..errors import UserError
from ..formats._base import ROW_BLOCK
from ..formats.pruned import Pruned
from ..numerics import bits as packing
from ..numerics.matrices import Rows
from ._base import Context, Method, Options, Plan, budget_bits, infeasible, largest
from .sparse_coding import select_kept_rows

LEAST_KEPT = 5
"""Minimum number of kept rows: BERT has five special tokens, without which no input can be read."""


@dataclass(frozen=True)
class VocabularyPruningOptions(Options):
    """The row that replaces the dropped rows."""

    others: Literal["mean", "unk"] = "mean"
    """Their mean, or the unknown token's row."""
    unk_id: int = -1
    """The unknown token's id, with `others: unk` alone."""

    def __post_init__(self) -> None:
        super().__post_init__()
        if (self.others == "unk") != (self.unk_id >= 0):
            raise UserError(
                "option unk_id, the unknown token's id, is required with others: unk and not "
                "allowed with others: mean"
            )


class VocabularyPruning(Method):
    """The largest number of kept rows that fits the budget."""

    alias = "prune"
    label = "vocabulary pruning"
    kind = "baseline"
    supports_streaming = True
    Options = VocabularyPruningOptions

    def plan(self, shape: tuple[int, int], ratio: float) -> Plan:
        """See base class."""
        rows, d = shape

        def size(n_kept: int) -> int:
            return 8 * packing.packed_bytes(rows, 1) + self.bits_of(Pruned.factors(shape, n_kept))

        n_kept = largest(size, budget_bits(shape, ratio), rows)
        least = min(LEAST_KEPT, rows)
        if n_kept < least:
            raise infeasible(self.label, shape, 32 * rows * d / size(least))
        return Plan(shape, ratio, bits=size(n_kept), sizes={"n_kept": n_kept})

    def fit(self, matrix: Rows, plan: Plan, context: Context) -> Pruned:
        """See base class.

        Raises:
            UserError: without counts, if the budget keeps fewer rows than there are special tokens,
                or if there is no row unk_id.
        """
        if context.counts is None:
            raise UserError(f"{self.label} needs token counts: give --counts")
        rows = plan.shape[0]
        unknown = self.options.unk_id
        if unknown >= rows:
            raise UserError(f"option unk_id is {unknown}, but the matrix has {rows} rows")
        kept = select_kept_rows(context.counts, context.special_ids, plan.sizes["n_kept"])
        compressed = Pruned(plan.shape, plan.sizes["n_kept"], self.options.factor_dtype)
        compressed.is_kept.copy_(packing.pack(kept, 1))
        total = torch.zeros(plan.shape[1], dtype=torch.float64)
        for start in range(0, rows, ROW_BLOCK):
            block = matrix[start : start + ROW_BLOCK].double()
            total += block[~kept[start : start + ROW_BLOCK]].sum(0)
        # If no row is dropped, the shared row is never read.
        shared = (
            total / (~kept).sum().clamp_min(1) if unknown < 0 else matrix[unknown : unknown + 1][0]
        )
        kept_ids = kept.nonzero().flatten()

        def table(start: int, stop: int) -> Tensor:
            """Kept rows [start, stop), and after the last of them the shared row."""
            chosen = [matrix[i : i + 1].float() for i in kept_ids[start:stop].tolist()]
            return torch.cat([*chosen, *([shared[None].float()] if stop > len(kept_ids) else [])])

        compressed.store_rows("table", table)
        return compressed
