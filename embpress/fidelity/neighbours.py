"""Neighbour overlap: how many of a row's nearest rows by cosine are still its nearest ones after compression."""

import torch
from torch import Tensor
from torch.nn.functional import normalize

NEIGHBOURS = 10
QUERIES = 1000
"""Rows whose neighbours are looked up, about: among all rows, but never V x V cosines."""


def query_rows(weights: Tensor) -> tuple[Tensor, Tensor]:
    """A fixed sample of rows and the number of rows that each stands for: int64 (m,) and float64
    (m,).

    Half of the sample is even over rows and half goes by weight (the (V,) smoothed counts): means
    over rows and means by weight are then both well estimated, where an even sample would miss the
    few tokens that hold most of the weight. The sample is systematic over rows by falling weight,
    so it is stratified by frequency. Small matrices are taken whole.
    """
    n = len(weights)
    order = weights.argsort(descending=True, stable=True)
    share = 0.5 / n + 0.5 * weights[order].double() / weights.sum()
    likely = (QUERIES * share).clamp(max=1) if n > QUERIES else torch.ones(n, dtype=torch.float64)
    # A row is drawn where the running sum passes an integer. The half keeps rounding at the
    # integers out of it.
    passed = torch.cat([torch.zeros(1), likely.cumsum(0)]).add(0.5).floor().diff() > 0
    return order[passed], 1 / likely[passed]


class NeighbourOverlap:
    """Collects the nearest rows of some queries, in the original and in the decoded matrix, over
    blocks of rows.

    Blocks may come in any order, and every row must come once. A zero row has cosine 0 with all
    others.
    """

    def __init__(self, ids: Tensor, rows: Tensor, decoded: Tensor, n_rows: int) -> None:
        self.ids = ids
        self.k = min(NEIGHBOURS, n_rows - 1)
        self.queries = [_unit(rows), _unit(decoded)]
        self.best = [
            (torch.empty(len(ids), 0), torch.empty(len(ids), 0, dtype=torch.int64))
            for _ in range(2)
        ]

    def add(self, ids: Tensor, rows: Tensor, decoded: Tensor) -> None:
        """Take a block of rows (n, d) and their decoded form, of the given ids (n,)."""
        query, column = (self.ids[:, None] == ids).nonzero(as_tuple=True)
        for side, keys in enumerate((rows, decoded)):
            cosines = self.queries[side] @ _unit(keys).T
            cosines[query, column] = -torch.inf  # a row is not its own neighbour
            top = cosines.topk(min(self.k + 1, len(ids)), dim=1)
            values = torch.cat([self.best[side][0], top.values], 1)
            found = torch.cat([self.best[side][1], ids[top.indices]], 1)
            kept = values.topk(min(self.k, values.shape[1]), dim=1)
            self.best[side] = kept.values, found.gather(1, kept.indices)

    def shares(self) -> Tensor:
        """Each query's share of its original neighbours that stayed: float64 (m,).

        1 in a matrix of one row.
        """
        before = self.best[0][1]
        after = self.best[1][1]
        same = (before[:, :, None] == after[:, None, :]).any(2).double()
        return same.mean(1) if self.k else torch.ones(len(self.ids), dtype=torch.float64)


def _unit(rows: Tensor) -> Tensor:
    """Rows of norm 1 in float32; zero rows stay zero."""
    return normalize(rows.float(), dim=1, eps=1e-30)
