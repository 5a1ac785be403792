"""T24: frequency-aware partial sparse coding (Tamura, Yoshinaga and Neishi, CoNLL 2024).

Idea: the N most frequent tokens keep their rows; each rare row x becomes a locally linear mix of
its k nearest kept rows a_j,

    min_w || x - sum_j w_j a_j ||^2   subject to   sum_j w_j = 1,   w = C^-1 1 / (1^T C^-1 1),

where C = D D^T and the rows of D are the differences x - a_j. Neighbours are the nearest by cosine;
the weights use the rows themselves. This is the locally linear mapping of Sakuma and Yoshinaga
(CoNLL 2019, section 3) with k = 10 as in their code. Stored are the kept rows, a bitmap that marks
them, and k packed indices and k weights per rare row.

Reconstruction: the paper's full text was not available. Its abstract says that common tokens keep
their rows and that rare rows are made from them by a locally linear mapping, in a fine-tuned model.
Inferred, and why:
- nothing is trained: the mapping has a closed form, and the abstract names no training after
  fine-tuning;
- N is the largest number that fits the budget: the abstract gives none;
- k = 10 and cosine: from the code of the earlier paper, whose mapping the abstract names;
- the weights are computed on the matrix that is compressed, which is fine-tuned: the abstract
  compresses after fine-tuning;
- rows are ordered by counts in a general corpus, and special tokens are always kept: "common" needs
  counts, and special tokens are in every input but in no corpus.

Differs from the earlier paper's code: a ridge of 1e-3 tr(C)/k on C, because duplicated rows would
make C singular.

Options (paper's values are the defaults): `neighbours`; `similarity: euclidean`, which finds the
shortest of the frequent rows for every rare row; `order: vocabulary`, which takes ids as ranks and
needs no counts. `weighting` does not apply: each row is mixed on its own, so that weights of errors
would change nothing.
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
"""Rare rows mixed at once by a thread: bounds memory; smaller blocks slow the search."""
RIDGE = 1e-3
"""Share of tr(C)/k added to C's diagonal."""


@dataclass(frozen=True)
class SparseCodingOptions(Options):
    """Which rows are kept, and how the others are mixed."""

    neighbours: int = 10
    """k, number of kept rows that are mixed for a rare row."""
    similarity: Similarity = "cosine"
    """Measure by which the nearest kept rows are found."""
    order: Literal["counts", "vocabulary"] = "counts"
    """Whether the most frequent rows are kept, or the first ones of the vocabulary."""

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.neighbours < 1:
            raise UserError(f"option neighbours is {self.neighbours}, but must be at least 1")


class SparseCoding(Method):
    """The largest number of kept rows that fits the budget."""

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
        n_bytes = packing.packed_bytes((rows - n_kept) * k, packing.width_for(n_kept))
        n_bytes += packing.packed_bytes(rows, 1)
        return self.bits_of(Mixture.factors(shape, n_kept, k)) + 8 * n_bytes

    def plan(self, shape: tuple[int, int], ratio: float) -> Plan:
        """See base class."""
        rows = shape[0]
        least = min(self.options.neighbours, rows)

        def size(n: int) -> int:
            """Bits with least + n - 1 rows: from k rows up, each further kept row adds bits."""
            return self._bits(shape, least + n - 1)

        n_above = largest(size, budget_bits(shape, ratio), rows - least + 1)
        if not n_above:
            raise infeasible(self.label, shape, 32 * rows * shape[1] / size(1))
        n_kept = least + n_above - 1
        sizes = {"n_kept": n_kept, "neighbours": min(self.options.neighbours, n_kept)}
        return Plan(shape, ratio, bits=self._bits(shape, n_kept), sizes=sizes)

    def fit(self, matrix: Tensor, plan: Plan, context: Context) -> Mixture:
        """See base class.

        Raises:
            UserError: without counts.
            InfeasibleRatio: if the budget keeps fewer rows than there are special tokens.
        """
        options = self.options
        n_kept = plan.sizes["n_kept"]
        k = plan.sizes["neighbours"]
        counts = context.counts if options.order == "counts" else torch.arange(len(matrix), 0, -1)
        if counts is None:
            raise UserError(
                f"{self.label} needs token counts: give --counts, or use order: vocabulary, which "
                "keeps the first rows"
            )
        kept = select_kept_rows(counts, context.special_ids, n_kept)
        rare = (~kept).nonzero().flatten()
        rows = matrix.numpy()
        anchors = matrix[kept].numpy()
        search = build_index(anchors, options.similarity)
        index = np.empty((len(rare), k), dtype=np.int64)
        weights = np.empty((len(rare), k), dtype=np.float32)

        def mix(start: int, stop: int) -> int:
            block = rows[rare[start:stop]]
            index[start:stop] = search.search(block, k)[1]
            weights[start:stop] = mixing_weights(block, anchors, index[start:stop], RIDGE)
            return stop

        # Threads that multiply blocks of their own do not wait for each other, as the threads of
        # one product would.
        threads = torch.get_num_threads()
        n_blocks = threads * -(-len(rare) // (threads * BLOCK))
        bounds = np.linspace(0, len(rare), n_blocks + 1).astype(int)
        with threadpool_limits(1, "blas"):
            for done in map_in_threads(mix, bounds, bounds[1:]):
                context.progress(f"{done}/{len(rare)} rare rows")
        compressed = Mixture(plan.shape, n_kept, k, dtype=options.factor_dtype)
        compressed.store("kept", torch.from_numpy(anchors))
        compressed.is_kept.copy_(packing.pack(kept, 1))
        compressed.index.copy_(packing.pack(torch.from_numpy(index), compressed.index_width))
        compressed.store("weight", torch.from_numpy(weights))
        return compressed


def select_kept_rows(counts: Tensor, special_ids: tuple[int, ...], n_kept: int) -> Tensor:
    """Mask (V,) of the special rows and the most frequent others, n_kept in all.

    Of rows with equal counts those of lower ids are kept.

    Raises:
        InfeasibleRatio: if there are more special rows than n_kept.
    """
    if len(set(special_ids)) > n_kept:
        raise InfeasibleRatio(
            f"the budget keeps {n_kept} rows, but there are {len(set(special_ids))} special "
            "tokens: use a lower ratio"
        )
    priority = counts.to(torch.int64).clone()
    priority[list(special_ids)] = torch.iinfo(torch.int64).max
    kept = torch.zeros(len(counts), dtype=torch.bool)
    kept[priority.argsort(descending=True, stable=True)[:n_kept]] = True
    return kept
