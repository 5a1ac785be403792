"""T24: frequency-aware partial sparse coding (Tamura, Yoshinaga and Neishi, CoNLL 2024).

The N most frequent tokens keep their rows, A; each rare row x becomes a locally linear mix of its k nearest kept rows:

    min_w || x - sum_j w_j a_j ||^2   subject to   sum_j w_j = 1,   solved by   w = C^-1 1 / (1^T C^-1 1),

with C = D D^T and D the differences x - a_j. Neighbours are the nearest by cosine, the weights use the rows as they
are. This is the locally linear mapping of the same group (Sakuma and Yoshinaga, CoNLL 2019, section 3), k = 10 as in
its code.

Reconstruction: the paper's full text could not be had. Inferred are the choice of N (as many as the budget allows), k,
the order by corpus counts, special tokens always kept, and weights computed from the matrix that is compressed (the
fine-tuned one). Stored and counted: kept rows, a bitmap of the kept, k packed indices and k weights a rare row.

Differs from the forerunner's code: a ridge of 1e-3 tr(C)/k on C, without which duplicated rows make it singular.
"""

from dataclasses import dataclass

import torch
from torch import Tensor

from .. import bits as packing
from ..errors import UserError
from ..formats.mixture import Mixture
from ..linalg import nearest_by_cosine
from .base import Context, Method, Options, Plan, budget_bits, infeasible, largest

SOLVE_BLOCK = 4096
"""Rare rows solved at once: bounds memory at SOLVE_BLOCK x k x d floats."""


@dataclass(frozen=True)
class T24Options(Options):
    """Size and conditioning of the mixes."""

    neighbours: int = 10
    """k, kept rows that mix a rare one."""
    ridge: float = 1e-3
    """Share of tr(C)/k added to C's diagonal."""

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.neighbours < 1 or self.ridge < 0:
            raise UserError("options neighbours and ridge must be at least 1 and 0")


class T24(Method):
    """As many kept rows as the budget allows."""

    label = "T24 sparse coding"
    kind = "paper"
    citation = "tamura2024frequency"
    reconstruction = True
    Options = T24Options

    def _bits(self, shape: tuple[int, int], n_kept: int) -> int:
        """Bits stored with n_kept rows kept."""
        rows, d = shape
        k, mixed = min(self.options.neighbours, n_kept), rows - n_kept
        codes = packing.packed_bytes(mixed * k, packing.width_for(n_kept)) + packing.packed_bytes(rows, 1)
        return self.factor_bits * (n_kept * d + mixed * k) + 8 * codes

    def plan(self, shape: tuple[int, int], ratio: float) -> Plan:
        """See base class."""
        budget, rows = budget_bits(shape, ratio), shape[0]
        # A kept row costs d floats, a mixed one fewer: sizes grow with n_kept, once there are k rows to mix from.
        least = min(self.options.neighbours, rows)
        extra = largest(lambda n: self._bits(shape, least + n - 1), budget, rows - least + 1)
        if not extra:
            raise infeasible(self.label, shape, 32 * rows * shape[1] / self._bits(shape, least))
        n_kept = least + extra - 1
        sizes = {"n_kept": n_kept, "neighbours": min(self.options.neighbours, n_kept)}
        return Plan(shape, ratio, bits=self._bits(shape, n_kept), sizes=sizes)

    def fit(self, matrix: Tensor, plan: Plan, context: Context) -> Mixture:
        """See base class.

        Raises:
            UserError: without counts, or if more special tokens must be kept than the budget has room for.
        """
        if context.counts is None:
            raise UserError("T24 needs token counts: it keeps the most frequent rows")
        n_kept, k = plan.sizes["n_kept"], plan.sizes["neighbours"]
        kept = kept_rows(context.counts, context.special_ids, n_kept)
        mixed = (~kept).nonzero().flatten()
        anchors = matrix[kept]
        compressed = Mixture(plan.shape, n_kept, k, self.options.factor_dtype)
        compressed.kept.copy_(anchors)
        compressed.is_kept.copy_(packing.pack(kept, 1))
        index = torch.empty(len(mixed), k, dtype=torch.int64)
        for block in torch.arange(len(mixed)).split(SOLVE_BLOCK):
            rows = matrix[mixed[block]]
            index[block] = nearest_by_cosine(rows, anchors, k)
            compressed.weight[block] = mixing_weights(rows, anchors[index[block]], self.options.ridge).to(self.factor_dtype)
            context.progress(f"{int(block[-1]) + 1}/{len(mixed)} rare rows")
        compressed.index.copy_(packing.pack(index, compressed.index_width))
        return compressed


def kept_rows(counts: Tensor, special_ids: tuple[int, ...], n_kept: int) -> Tensor:
    """Mask (V,) of the special rows and the most frequent others, n_kept in all; ties go to the lower id."""
    if len(set(special_ids)) > n_kept:
        raise UserError(
            f"the budget keeps {n_kept} rows, but there are {len(set(special_ids))} special tokens: lower the ratio"
        )
    order = counts.to(torch.int64).clone()
    order[list(special_ids)] = torch.iinfo(torch.int64).max
    kept = torch.zeros(len(counts), dtype=torch.bool)
    kept[order.argsort(descending=True, stable=True)[:n_kept]] = True
    return kept


def mixing_weights(rows: Tensor, neighbours: Tensor, ridge: float) -> Tensor:
    """Weights of sum 1 that mix each row best from its neighbours: rows (m, d), neighbours (m, k, d) to (m, k)."""
    difference = rows[:, None] - neighbours
    gram = difference @ difference.mT
    k = gram.shape[1]
    trace = gram.diagonal(dim1=1, dim2=2).sum(1)
    # A row equal to all its neighbours has C = 0; any weights of sum 1 are then right.
    load = torch.where(trace > 0, ridge * trace / k, torch.ones_like(trace))
    gram.diagonal(dim1=1, dim2=2).add_(load[:, None])
    weights = torch.linalg.solve(gram, torch.ones(len(rows), k, 1))[..., 0]
    return weights / weights.sum(1, keepdim=True)
