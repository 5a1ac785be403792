"""Nearest rows by exhaustive search.

Blocks of scores, one float32 product each, of which a compiled loop keeps the best.
"""

import numpy as np

from .compiled import compiled

KEYS = 4096
"""Keys that are scored at once."""
LANES = 4
"""Columns of a block of scores are dealt to this many lanes a neighbour.

Most lanes hold none of the best.
"""


class Nearest:
    """Search for the k of the keys, float32 (n, d), that are nearest to a query.

    `similarity` is cosine, by which a zero query is as near to all, or euclidean.
    """

    def __init__(self, keys: np.ndarray, k: int, similarity: str = "cosine") -> None:
        norms = np.linalg.norm(keys, axis=1)
        self.k = k
        self.by_cosine = similarity == "cosine"
        self.keys = keys / norms[:, None].clip(1e-30) if self.by_cosine else keys
        self.offset = norms**2 / 2

    def find(self, queries: np.ndarray) -> np.ndarray:
        """Positions (m, k) of the keys nearest to each of the queries, float32 (m, d).

        The nearest first.
        """
        best = np.full((len(queries), self.k), -np.inf, dtype=np.float32)
        found = np.zeros((len(queries), self.k), dtype=np.int64)
        for start in range(0, len(self.keys), KEYS):
            scores = queries @ self.keys[start : start + KEYS].T
            if not self.by_cosine:  # |q - k|^2 = |q|^2 - 2 (q k - |k|^2 / 2)
                scores -= self.offset[start : start + KEYS]
            keep_best(scores, start, best, found)
        return found


@compiled
def keep_best(scores: np.ndarray, start: int, best: np.ndarray, found: np.ndarray) -> None:
    """Let a block of scores, float32 (m, n), into the best of each row, float32 (m, k), and their
    columns, int64 (m, k).

    Column j of the block is number `start` + j of all. The k highest scores lie in the k lanes of
    the highest maxima, and maxima of lanes are what vector instructions find.
    """
    (m, n), k = scores.shape, best.shape[1]
    tops = np.empty(LANES * k, dtype=np.float32)
    highest = np.empty(k, dtype=np.float32)
    lanes = np.empty(k, dtype=np.int64)
    for i in range(m):
        tops[:] = -np.inf
        for first in range(0, n, len(tops)):
            part = scores[i, first : first + len(tops)]
            np.maximum(tops[: len(part)], part, tops[: len(part)])
        highest[:] = -np.inf
        for lane in range(len(tops)):
            insert(tops[lane], lane, highest, lanes)
        for place in range(k):
            if highest[place] > best[i, k - 1]:
                for j in range(lanes[place], n, len(tops)):
                    if scores[i, j] >= highest[k - 1]:
                        insert(scores[i, j], start + j, best[i], found[i])


@compiled
def insert(score: float, place: int, best: np.ndarray, found: np.ndarray) -> None:
    """Let a score and its place into falling scores and their places.

    If it is higher than the last.
    """
    at = len(best) - 1
    if score > best[at]:
        while at > 0 and best[at - 1] < score:
            best[at], found[at] = best[at - 1], found[at - 1]
            at -= 1
        best[at], found[at] = score, place
