"""Neighbour overlap: share of a row's nearest rows by cosine that compression keeps."""

import torch
from torch import Tensor
from torch.nn.functional import normalize

NEIGHBOURS = 10
QUERIES = 1000
"""Approximate number of rows whose neighbours are searched among all rows."""


def query_rows(weights: Tensor) -> tuple[Tensor, Tensor]:
    """Deterministic sample of rows: int64 ids (m,) and how many rows each represents, float64 (m,).

    Half of the probability of a row is uniform and half is proportional to its weight (smoothed
    counts, (V,)), so that uniform and weighted means are both estimated well: a uniform sample
    would miss the few tokens of most weight. Sampling is systematic over rows of falling weight,
    and thus stratified by frequency. All rows of a small matrix are taken.
    """
    n = len(weights)
    order = weights.argsort(descending=True, stable=True)
    share = 0.5 / n + 0.5 * weights[order].double() / weights.sum()
    likely = (QUERIES * share).clamp(max=1) if n > QUERIES else torch.ones(n, dtype=torch.float64)
    # A row is sampled where the cumulative sum passes an integer plus 1/2. At the integers
    # themselves rounding would decide.
    passed = torch.cat([torch.zeros(1), likely.cumsum(0)]).add(0.5).floor().diff() > 0
    return order[passed], 1 / likely[passed]


class NeighbourOverlap:
    """Nearest rows of sampled rows in the original and in the decoded matrix, over blocks of rows.

    Blocks may be added in any order, each row once. A zero row has cosine 0 with all others.
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
        """Add a block of rows (n, d) and of decoded rows (n, d) with their ids (n,)."""
        query, column = (self.ids[:, None] == ids).nonzero(as_tuple=True)
        for side, keys in enumerate((rows, decoded)):
            cosines = self.queries[side] @ _unit(keys).T
            cosines[query, column] = -torch.inf  # a row is not its own neighbour
            top = cosines.topk(min(self.k + 1, len(ids)), dim=1)
            values = torch.cat([self.best[side][0], top.values], 1)
            candidates = torch.cat([self.best[side][1], ids[top.indices]], 1)
            kept = values.topk(min(self.k, values.shape[1]), dim=1)
            self.best[side] = kept.values, candidates.gather(1, kept.indices)

    def shares(self) -> Tensor:
        """Share of each sampled row's original neighbours that stay: float64 (m,).

        1 in a matrix of one row.
        """
        before = self.best[0][1]
        after = self.best[1][1]
        same = (before[:, :, None] == after[:, None, :]).any(2).double()
        return same.mean(1) if self.k else torch.ones(len(self.ids), dtype=torch.float64)


def _unit(rows: Tensor) -> Tensor:
    """Rows scaled to norm 1, in float32; zero rows stay zero."""
    return normalize(rows.float(), dim=1, eps=1e-30)
