"""T24: frequency-aware partial sparse coding (Tamura, Yoshinaga and Neishi, CoNLL 2024).

The N most frequent tokens keep their rows, A; each rare row x becomes a locally linear mix of its k
nearest kept rows:

    min_w || x - sum_j w_j a_j ||^2   subject to   sum_j w_j = 1,   solved by   w = C^-1 1 / (1^T C^-1 1),

with C = D D^T and D the differences x - a_j. Neighbours are the nearest by cosine, the weights use
the rows as they are. This is the locally linear mapping of the same group (Sakuma and Yoshinaga,
CoNLL 2019, section 3), k = 10 as in its code.

Reconstruction: the paper's full text could not be had. From its abstract: common tokens keep their
rows, the rare ones' are made of them by a locally linear mapping, in a fine-tuned model. Inferred,
and why:
- nothing is trained: the mapping is a closed form, and the abstract names no training after
  fine-tuning;
- N, as many as the budget allows: the abstract names no number;
- k = 10 and neighbours by cosine: the forerunner's code, for whose mapping the abstract's words are
  the name;
- weights computed from the matrix that is compressed, the fine-tuned one: the abstract compresses
  after fine-tuning;
- order by counts of a general corpus, and special tokens always kept: "common" asks for counts, and
  special tokens stand in every input but in no corpus.
Stored and counted: kept rows, a bitmap of the kept, k packed indices and k weights a rare row.

Ablations: `neighbours`, `n_kept`, `similarity: euclidean` (whose neighbours are the small rows of
the most frequent tokens, whatever the row), `sum_to_one: false` (plain least squares), `order:
vocabulary` (ids as ranks, which needs no counts), `keep_norm` (a variant and not the paper's
method: mixes come out too short, and one more float a rare row mends that, at the price of a larger
squared error). `weighting` does not apply: rows are mixed one by one, so that weights of their
errors would change nothing.

Differs from the forerunner's code: a ridge of 1e-3 tr(C)/k on C, without which duplicated rows make
it singular.
"""

from dataclasses import dataclass
from typing import Literal

import numpy as np
import torch
from threadpoolctl import threadpool_limits
from torch import Tensor

from ..errors import InfeasibleRatio, UserError
from ..formats.mixture import Mixture
from ..numerics import bits as packing
from ..numerics.local_mixing import mixing_weights
from ..numerics.search import Similarity, build_index, map_in_threads
from ._base import Context, Method, Options, Plan, budget_bits, infeasible, largest

BLOCK = 2048
"""Rare rows that a thread mixes at once.

Bounds memory, as fewer slow their product with the kept rows.
"""


@dataclass(frozen=True)
class SparseCodingOptions(Options):
    """Which rows are kept, and how the others are mixed."""

    neighbours: int = 10
    """k, kept rows that mix a rare one."""
    n_kept: int = 0
    """N; 0 keeps as many rows as the budget allows."""
    similarity: Similarity = "cosine"
    sum_to_one: bool = True
    order: Literal["counts", "vocabulary"] = "counts"
    keep_norm: bool = False
    """Scale each mix to the norm of its row, which is stored."""
    ridge: float = 1e-3
    """Share of tr(C)/k added to C's diagonal."""

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.neighbours < 1 or min(self.n_kept, self.ridge) < 0:
            raise UserError("option neighbours must be at least 1, n_kept and ridge at least 0")


class T24(Method):
    """As many kept rows as the budget allows."""

    alias = "t24"
    label = "T24 sparse coding"
    kind = "paper"
    citation = "tamura2024frequency"
    reconstruction = True
    Options = SparseCodingOptions

    def _bits(self, shape: tuple[int, int], n_kept: int) -> int:
        """Bits stored with n_kept rows kept."""
        rows = shape[0]
        k = min(self.options.neighbours, n_kept)
        codes = packing.packed_bytes(
            (rows - n_kept) * k, packing.width_for(n_kept)
        ) + packing.packed_bytes(rows, 1)
        return self.bits_of(Mixture.factors(shape, n_kept, k, self.options.keep_norm)) + 8 * codes

    def plan(self, shape: tuple[int, int], ratio: float) -> Plan:
        """See base class.

        Raises:
            UserError: if the option n_kept is above V or below the number of neighbours.
        """
        budget = budget_bits(shape, ratio)
        rows = shape[0]
        n_kept = self.options.n_kept
        # A kept row costs d floats, a mixed one fewer: sizes grow with n_kept, once there are k
        # rows to mix from.
        least = min(self.options.neighbours, rows)
        if n_kept and not least <= n_kept <= rows:
            raise UserError(
                f"option n_kept is {n_kept}, but must be from {least} (neighbours) to {rows} (rows)"
            )
        if not n_kept:
            n_kept = (
                least
                - 1
                + largest(lambda n: self._bits(shape, least + n - 1), budget, rows - least + 1)
            )
        if n_kept < least or self._bits(shape, n_kept) > budget:
            raise infeasible(
                self.label, shape, 32 * rows * shape[1] / self._bits(shape, max(n_kept, least))
            )
        sizes = {"n_kept": n_kept, "neighbours": min(self.options.neighbours, n_kept)}
        return Plan(shape, ratio, bits=self._bits(shape, n_kept), sizes=sizes)

    def fit(self, matrix: Tensor, plan: Plan, context: Context) -> Mixture:
        """See base class.

        Raises:
            UserError: without counts.
            InfeasibleRatio: if more special tokens must be kept than the budget has room for.
        """
        options = self.options
        n_kept = plan.sizes["n_kept"]
        k = plan.sizes["neighbours"]
        counts = context.counts if options.order == "counts" else torch.arange(len(matrix), 0, -1)
        if counts is None:
            raise UserError(
                "T24 needs token counts: give them (--counts), or take order: vocabulary, which keeps the first"
            )
        kept = select_kept_rows(counts, context.special_ids, n_kept)
        mixed = (~kept).nonzero().flatten()
        rows = matrix.numpy()
        anchors = matrix[kept].numpy()
        search = build_index(anchors, options.similarity)
        index = np.empty((len(mixed), k), dtype=np.int64)
        weights = np.empty((len(mixed), k), dtype=np.float32)

        def mix(start: int, stop: int) -> int:
            rare = rows[mixed[start:stop]]
            index[start:stop] = search.search(rare, k)[1]
            weights[start:stop] = mixing_weights(
                rare, anchors, index[start:stop], float(options.ridge), options.sum_to_one
            )
            return stop

        # Threads that each multiply blocks of their own do not wait for each other, as those of one
        # product would.
        threads = torch.get_num_threads()
        bounds = np.linspace(
            0, len(mixed), threads * -(-len(mixed) // (threads * BLOCK)) + 1
        ).astype(int)
        with threadpool_limits(1, "blas"):
            for done in map_in_threads(mix, bounds, bounds[1:]):
                context.progress(f"{done}/{len(mixed)} rare rows")
        compressed = Mixture(plan.shape, n_kept, k, options.keep_norm, options.factor_dtype)
        compressed.store("kept", torch.from_numpy(anchors))
        compressed.is_kept.copy_(packing.pack(kept, 1))
        compressed.index.copy_(packing.pack(torch.from_numpy(index), compressed.index_width))
        compressed.store("weight", torch.from_numpy(weights))
        if options.keep_norm:
            compressed.store("norms", matrix.norm(dim=1)[mixed])
        return compressed


def select_kept_rows(counts: Tensor, special_ids: tuple[int, ...], n_kept: int) -> Tensor:
    """Mask (V,) of the special rows and the most frequent others, n_kept in all.

    Ties go to the lower id.
    """
    if len(set(special_ids)) > n_kept:
        raise InfeasibleRatio(
            f"the budget keeps {n_kept} rows, but there are {len(set(special_ids))} special tokens: lower the ratio"
        )
    order = counts.to(torch.int64).clone()
    order[list(special_ids)] = torch.iinfo(torch.int64).max
    kept = torch.zeros(len(counts), dtype=torch.bool)
    kept[order.argsort(descending=True, stable=True)[:n_kept]] = True
    return kept
