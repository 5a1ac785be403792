import numpy as np
import pytest
from sklearn.neighbors import NearestNeighbors

from embpress.numerics import nearest
from embpress.numerics.nearest import Nearest, keep_best


@pytest.fixture
def tall():
    return np.random.default_rng(0).normal(size=(300, 20)).astype(np.float32)


@pytest.mark.parametrize("at_once", [1, 7, 150, 4096])
@pytest.mark.parametrize("similarity", ["cosine", "euclidean"])
@pytest.mark.parametrize("k", [1, 5, 200])
def test_neighbours_equal_scikit_learns_in_any_blocks(tall, similarity, k, at_once, monkeypatch):
    monkeypatch.setattr(nearest, "KEYS", at_once)
    keys = tall[:200] * np.logspace(-1, 1, 200, dtype=np.float32)[:, None]
    search = NearestNeighbors(n_neighbors=k, metric=similarity, algorithm="brute").fit(
        keys.astype(np.float64)
    )
    wanted = search.kneighbors(tall[200:].astype(np.float64), return_distance=False)
    assert np.array_equal(Nearest(keys, k, similarity).find(tall[200:]), wanted)


def test_zero_rows_have_neighbours_and_are_nobodys_first(tall):
    keys = np.concatenate([np.zeros((1, 20), dtype=np.float32), tall[:99]])
    of_zero = Nearest(keys, 5).find(np.zeros((1, 20), dtype=np.float32))
    assert len(set(of_zero[0])) == 5 and of_zero.min() >= 0 and of_zero.max() < 100
    assert (Nearest(keys, 5).find(tall[100:])[:, 0] > 0).all()


@pytest.mark.parametrize("columns", [3, 12, 13, 1000])
def test_the_best_of_scores_with_many_ties_are_as_high_as_a_sorts(columns):
    """Columns are dealt to 4 lanes a neighbour, 12 here."""
    scores = np.random.default_rng(0).integers(-3, 3, (200, columns)).astype(np.float32)
    best = np.full((200, 3), -np.inf, dtype=np.float32)
    found = np.zeros((200, 3), dtype=np.int64)
    keep_best(scores, 0, best, found)
    assert np.array_equal(best, -np.sort(-scores, axis=1)[:, :3])
    assert np.array_equal(np.take_along_axis(scores, found, 1), best)
    assert all(len(set(row)) == 3 for row in found)
