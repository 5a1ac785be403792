import numpy as np
import pytest
from scipy.stats import spearmanr

from embpress.tasks._encoding import batches
from embpress.tasks._metrics import resampled_spearman, spearman
from embpress.tasks.retrieval import Retrieval
from embpress.tasks.similarity import Similarity, word_pairs


def test_spearman_against_scipy_with_ties():
    generator = np.random.default_rng(0)
    left, right = generator.integers(0, 6, (2, 20, 40)).astype(float)
    wanted = [spearmanr(a, b).statistic for a, b in zip(left, right)]
    np.testing.assert_allclose(spearman(left, right), wanted, rtol=1e-12)


def test_spearman_of_a_constant_side_is_zero():
    assert spearman(np.ones((1, 5)), np.arange(5.0)[None]).tolist() == [0]
    constant = resampled_spearman(np.ones(5), np.arange(5.0), np.arange(5)[None])
    assert constant.tolist() == [0]


def test_spearman_of_samples_is_that_of_their_examples():
    generator = np.random.default_rng(0)
    left, right = generator.integers(0, 6, (2, 40)).astype(float)
    indices = generator.integers(0, 40, (20, 30))
    wanted = spearman(left[indices], right[indices])
    assert resampled_spearman(left, right, indices).tolist() == wanted.tolist()


def test_similarity_is_the_mean_over_sets():
    up = np.stack([np.arange(9.0), np.arange(9.0)], 1)
    down = np.stack([np.arange(9.0), -np.arange(9.0)], 1)
    outcomes = {"simlex999": up, "wordsim353": down}
    indices = {name: np.arange(9)[None] for name in outcomes}
    scores = Similarity.scores(outcomes, indices)
    assert scores["spearman"] == pytest.approx([0])
    assert scores["spearman_simlex999"] == pytest.approx([1])
    assert Similarity.n_examples(outcomes)["spearman"] == 18


def test_retrieval_averages_both_directions():
    outcomes = {"en_ja": np.array([1, 1, 0, 0]), "ja_en": np.array([1, 0, 0, 0])}
    scores = Retrieval.scores(outcomes, {"pair": np.arange(4)[None]})
    assert {k: v.tolist() for k, v in scores.items()} == {
        "accuracy": [0.375], "accuracy_ja_en": [0.25], "accuracy_en_ja": [0.5]
    }  # fmt: skip


def test_word_pairs_reads_comments_and_repeated_words():
    pairs = word_pairs(b"# comment\nold\tnew\t1.5\nnew\tcar\t9\n")
    assert [(pairs.texts[a], pairs.texts[b]) for a, b in pairs.positions] == [
        ("old", "new"),
        ("new", "car"),
    ]
    assert pairs.gold.tolist() == [1.5, 9]


def test_batches_hold_every_text_once_and_are_bounded():
    lengths = np.random.default_rng(0).integers(1, 300, 500).tolist()
    groups = list(batches(lengths))
    assert sorted(i for g in groups for i in g) == list(range(500))
    assert all(len(g) * max(lengths[i] for i in g) <= 2048 or len(g) == 1 for g in groups)
