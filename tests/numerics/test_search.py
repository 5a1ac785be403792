import subprocess
import sys

import numpy as np
import pytest
import torch
from sklearn.neighbors import NearestNeighbors

from embpress.numerics.search import build_index, map_in_threads


@pytest.fixture
def tall():
    return np.random.default_rng(0).normal(size=(300, 20)).astype(np.float32)


@pytest.mark.parametrize("similarity", ["cosine", "euclidean"])
@pytest.mark.parametrize("k", [1, 5, 200])
def test_neighbours_equal_scikit_learns(tall, similarity, k):
    keys = tall[:200] * np.logspace(-1, 1, 200, dtype=np.float32)[:, None]
    search = NearestNeighbors(n_neighbors=k, metric=similarity, algorithm="brute").fit(
        keys.astype(np.float64)
    )
    wanted = search.kneighbors(tall[200:].astype(np.float64), return_distance=False)
    assert np.array_equal(build_index(keys, similarity).search(tall[200:], k)[1], wanted)


def test_zero_rows_have_neighbours_and_are_nobodys_first(tall):
    keys = np.concatenate([np.zeros((1, 20), dtype=np.float32), tall[:99]])
    index = build_index(keys, "cosine")
    of_zero = index.search(np.zeros((1, 20), dtype=np.float32), 5)[1]
    assert len(set(of_zero[0])) == 5 and of_zero.min() >= 0 and of_zero.max() < 100
    assert (index.search(tall[100:], 5)[1][:, 0] > 0).all()


def test_keys_are_not_changed(tall):
    before = tall.copy()
    for similarity in ("cosine", "euclidean"):
        build_index(tall, similarity)
    assert np.array_equal(tall, before)


@pytest.mark.parametrize("n_threads", [1, 3])
def test_results_come_in_the_order_of_the_arguments(n_threads):
    before = torch.get_num_threads()
    try:
        torch.set_num_threads(n_threads)
        assert list(map_in_threads(lambda a, b: a - b, range(20), range(20, 40))) == [-20] * 20
    finally:
        torch.set_num_threads(before)


def test_faiss_says_nothing_in_a_jobs_log():
    code = (
        "import logging; logging.basicConfig(level=logging.INFO)\n"
        "from embpress.numerics.search import load_faiss\n"
        "load_faiss()"
    )
    done = subprocess.run([sys.executable, "-c", code], check=True, capture_output=True, text=True)
    assert done.stdout + done.stderr == ""
