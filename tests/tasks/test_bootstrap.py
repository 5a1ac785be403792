import numpy as np
import pytest

from embpress.tasks._bootstrap import RESAMPLES, compare, difference, interval_over_seeds
from embpress.tasks.classification import Classification
from embpress.tasks.language_modelling import LanguageModelling


def answers(right):
    """Outcomes of a classifier that is right where `right` is 1."""
    return {
        "predicted": np.asarray(right, dtype=np.int16),
        "label": np.ones(len(right), dtype=np.int16),
    }


def test_equal_outcomes_retain_100_percent_without_doubt():
    outcomes = answers([1, 0, 1, 1] * 25)
    score, *_ = compare(Classification, outcomes, outcomes, "task")
    assert (score.value, score.n, score.retention, score.low, score.high) == (
        0.75,
        100,
        100,
        100,
        100,
    )


def test_interval_holds_the_point_and_narrows_with_n():
    generator = np.random.default_rng(0)

    def width(n):
        base = answers(generator.random(n) < 0.9)
        worse = answers(base["predicted"] * (generator.random(n) < 0.8))
        score, *_ = compare(Classification, worse, base, "task")
        assert score.low < score.retention < score.high
        return score.high - score.low

    assert width(4000) < width(100) / 3


def test_lower_perplexity_is_higher_retention():
    base = {"nll": np.full((8, 15), 2.0)}
    worse = {"nll": np.full((8, 15), 3.0)}
    (score,) = compare(LanguageModelling, worse, base, "task")
    assert score.value == pytest.approx(np.exp(3))
    assert score.retention == pytest.approx(100 * np.exp(-1))
    assert score.n == 120


def test_draws_depend_on_the_task_alone():
    base = answers(np.arange(50) % 3 > 0)
    worse = answers(np.arange(50) % 2)
    assert compare(Classification, worse, base, "a") == compare(Classification, worse, base, "a")
    assert (
        compare(Classification, worse, base, "a")[0].low
        != compare(Classification, worse, base, "b")[0].low
    )


def crossed_bootstrap(right, name, resamples):
    """Interval of the mean over seeds and examples of `right` (S, n), drawn one at a time."""
    generator = np.random.default_rng(name)
    n_seeds, n = right.shape
    means = []
    for _ in range(resamples):
        examples = generator.choice(n, n)
        seeds = generator.choice(n_seeds, n_seeds)
        means.append(np.mean([right[seed][examples].mean() for seed in seeds]))
    return np.percentile(means, [2.5, 97.5])


def test_intervals_of_seeds_that_disagree_cover_them():
    """The means of two seeds that keep 90 and 70 % are 70, 80 or 90 %, not 80 [78, 82]."""
    generator = np.random.default_rng(0)
    samples = np.stack([generator.normal(mean, 1, RESAMPLES) for mean in (90, 70)])
    low, high = interval_over_seeds(samples, "task")
    assert 67 < low < 71 and 89 < high < 93


def test_seeds_that_agree_and_a_single_seed_have_the_interval_of_the_examples():
    samples = np.random.default_rng(0).normal(90, 1, RESAMPLES)
    alone = np.percentile(samples, [2.5, 97.5])
    assert interval_over_seeds(samples[None], "task") == pytest.approx(alone)
    assert interval_over_seeds(np.stack([samples] * 3), "task") == pytest.approx(alone)


@pytest.mark.parametrize("n_seeds", [1, 3, 5])
def test_interval_of_a_difference_is_that_of_an_independent_bootstrap(n_seeds):
    generator = np.random.default_rng(n_seeds)
    rates = 0.75 + 0.04 * np.arange(n_seeds)
    sides = [generator.random((n_seeds, 200)) < rate[:, None] for rate in (rates, rates - 0.2)]
    pairs = [(answers(first), answers(second)) for first, second in zip(*sides)]
    result = difference(Classification, pairs, "task", "accuracy")
    expected = crossed_bootstrap(sides[0] * 1.0 - sides[1], 5, 4000)
    assert result.first - result.second == pytest.approx(np.mean(sides[0] * 1.0 - sides[1]))
    assert (result.low, result.high) == pytest.approx(tuple(expected), abs=0.015)
