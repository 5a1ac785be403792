"""Baseline: a tensor train of three cores by TT-SVD (Oseledets 2011), as Khrulkov, Hrinchuk,
Mirvakhabova and Oseledets (Findings of EMNLP 2020) and TT-Rec (Yin, Acun, Wu and Liu, MLSys 2021)
compress embeddings.

Rows are numbered by three digits and columns by three, and the matrix, as a tensor of three modes
of v_k d_k entries, is split by two truncated singular value decompositions (Algorithm 1 of
Oseledets): the error is at most sqrt(2) times the least one of these ranks (Corollary 2.4).

Differs from the papers: they train the cores with the model from a random start; here they are
fitted to a table that exists. Ranks need not be equal, so that the budget is filled.
"""

import math
from collections.abc import Callable
from functools import partial

import numpy as np
import torch
from torch import Tensor

from ..formats.tensor_train import TensorTrain, balanced_columns, balanced_rows
from ._base import Context, Method, Plan, budget_bits, infeasible, largest

SPREAD = 3
"""The first rank differs from the largest equal ranks by at most this part of them."""


class TensorTrainDecomposition(Method):
    """The largest ranks that fit the budget, nearly equal where both can grow."""

    label = "tensor train"
    kind = "baseline"

    def _size(self, shape: tuple[int, int], ranks: tuple[int, int]) -> int:
        """Bits stored."""
        modes = (balanced_rows(shape[0]), balanced_columns(shape[1]))
        return self.bits_of(TensorTrain.factors(*modes, ranks))

    def plan(self, shape: tuple[int, int], ratio: float) -> Plan:
        """See base class."""
        budget = budget_bits(shape, ratio)
        sizes = [v * d for v, d in zip(balanced_rows(shape[0]), balanced_columns(shape[1]))]
        most = (min(sizes[0], sizes[1] * sizes[2]), min(sizes[2], sizes[0] * sizes[1]))

        def equal(rank: int) -> tuple[int, int]:
            return min(rank, most[0]), min(rank, most[1])

        rank = largest(lambda n: self._size(shape, equal(n)), budget, max(most))
        if not rank:
            least = self._size(shape, (1, 1))
            raise infeasible(self.label, shape, 32 * math.prod(shape) / least)
        r1, r2 = max(self._nearly_equal(shape, budget, rank, most), key=self._size_on(shape))
        return Plan(shape, ratio, self._size(shape, (r1, r2)), {"r1": r1, "r2": r2})

    def _nearly_equal(
        self, shape: tuple[int, int], budget: int, rank: int, most: tuple[int, int]
    ) -> list[tuple[int, int]]:
        """Pairs of ranks within the budget of which the first is near to a rank."""
        pairs = [(min(rank, most[0]), min(rank, most[1]))]

        def size(r2: int, r1: int) -> int:
            return self._size(shape, (r1, r2))

        for r1 in range(max(1, rank - rank // SPREAD), min(most[0], rank + rank // SPREAD) + 1):
            r2 = largest(partial(size, r1=r1), budget, most[1])
            pairs += [(r1, r2)] if r2 else []
        return pairs

    def _size_on(self, shape: tuple[int, int]) -> Callable[[tuple[int, int]], int]:
        """Bits by ranks, for this shape."""
        return lambda ranks: self._size(shape, ranks)

    def fit(self, matrix: Tensor, plan: Plan, context: Context) -> TensorTrain:
        """See base class."""
        rows, columns = balanced_rows(plan.shape[0]), balanced_columns(plan.shape[1])
        ranks = (plan.sizes["r1"], plan.sizes["r2"])
        compressed = TensorTrain(plan.shape, rows, columns, ranks, self.options.factor_dtype)
        padded = torch.zeros(math.prod(rows), plan.shape[1])
        padded[: len(matrix)] = matrix
        tensor = padded.view(*rows, *columns).permute(0, 3, 1, 4, 2, 5)
        unfolded = tensor.reshape(rows[0] * columns[0], -1).numpy()
        first = _top_eigenvectors(unfolded @ unfolded.T, ranks[0])
        context.progress("first core")
        rest = (first.T @ unfolded).reshape(-1, rows[2] * columns[2])
        last = _top_eigenvectors(rest.T @ rest, ranks[1])
        middle = (rest @ last).reshape(ranks[0], rows[1], columns[1] * ranks[1])
        compressed.store("first", torch.from_numpy(first).view(rows[0], columns[0], ranks[0]))
        compressed.store("middle", torch.from_numpy(middle).transpose(0, 1))
        compressed.store(
            "last", torch.from_numpy(last).view(rows[2], columns[2], ranks[1]).transpose(1, 2)
        )
        return compressed


def _top_eigenvectors(gram: np.ndarray, rank: int) -> np.ndarray:
    """Eigenvectors of the largest eigenvalues as columns: float32 (n, rank)."""
    vectors = np.linalg.eigh(gram.astype(np.float64))[1]
    return np.ascontiguousarray(vectors[:, ::-1][:, :rank].astype(np.float32))
