"""scikit-learn and scipy are the oracles."""

import numpy as np
import pytest
from scipy.stats import pearsonr, spearmanr
from sklearn.metrics import accuracy_score, f1_score, matthews_corrcoef

from embpress.tasks import _metrics as metrics

RANDOM = np.random.default_rng(0)


@pytest.mark.parametrize(
    ("name", "oracle"),
    [("accuracy", accuracy_score), ("f1", f1_score), ("matthews", matthews_corrcoef)],
)
def test_two_labels(name, oracle):
    gold = (RANDOM.random((30, 60)) < 0.7).astype(np.int16)
    predicted = np.where(RANDOM.random((30, 60)) < 0.3, 1 - gold, gold)
    wanted = [oracle(g, p) for g, p in zip(gold, predicted)]
    np.testing.assert_allclose(getattr(metrics, name)(predicted, gold), wanted, rtol=1e-12)


@pytest.mark.parametrize(
    ("name", "oracle"), [("accuracy", accuracy_score), ("matthews", matthews_corrcoef)]
)
def test_five_labels_of_which_some_are_never_predicted(name, oracle):
    gold = RANDOM.integers(0, 5, (30, 40))
    predicted = RANDOM.integers(0, 3, (30, 40))
    wanted = [oracle(g, p) for g, p in zip(gold, predicted)]
    np.testing.assert_allclose(
        getattr(metrics, name)(predicted, gold), wanted, rtol=1e-12, atol=1e-15
    )


@pytest.mark.filterwarnings("ignore:A single label was found")
def test_one_label_alone_scores_zero_as_in_scikit_learn():
    ones = np.ones((1, 6), int)
    zeros = np.zeros((1, 6), int)
    mixed = np.arange(6)[None] % 2
    for gold, predicted in ((mixed, ones), (mixed, zeros), (ones, ones), (zeros, zeros)):
        assert metrics.matthews(predicted, gold) == [matthews_corrcoef(gold[0], predicted[0])]
        assert metrics.f1(predicted, gold) == [f1_score(gold[0], predicted[0], zero_division=0)]


def test_small_integers_do_not_overflow():
    gold = np.ones((1, 40_000), np.int16)
    gold[0, :20_000] = 0
    assert metrics.matthews(gold, gold) == pytest.approx([1]) and metrics.f1(gold, gold) == [1]


@pytest.mark.parametrize(("name", "oracle"), [("pearson", pearsonr), ("spearman", spearmanr)])
def test_correlations_with_ties(name, oracle):
    left = RANDOM.integers(0, 6, (20, 40)) / 3
    right = RANDOM.normal(size=(20, 40)).round(1)
    wanted = [oracle(a, b).statistic for a, b in zip(left, right)]
    np.testing.assert_allclose(getattr(metrics, name)(left, right), wanted, rtol=1e-10)


@pytest.mark.parametrize("name", ["pearson", "spearman"])
def test_a_constant_side_has_no_correlation(name):
    assert getattr(metrics, name)(np.full((1, 7), 0.1), np.arange(7.0)[None]).tolist() == [0]
