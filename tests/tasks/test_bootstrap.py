import numpy as np
import pytest

from embpress.tasks._bootstrap import (
    RESAMPLES,
    compare,
    difference,
    interval_over_seeds,
    retention_samples,
)
from embpress.tasks.classification import Classification
from embpress.tasks.language_modelling import LanguageModelling
from embpress.tasks.similarity import Similarity


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
    scale = np.sqrt(n_seeds / max(n_seeds - 1, 1))  # drawn means have (S - 1) / S of the variance
    means = []
    for _ in range(resamples):
        by_seed = right[:, generator.choice(n, n)].mean(1)
        drawn = generator.choice(by_seed, n_seeds).mean()
        means.append(by_seed.mean() + scale * (drawn - by_seed.mean()))
    return np.percentile(means, [2.5, 97.5])


def test_intervals_of_seeds_that_disagree_cover_them():
    """Two seeds that keep 90 and 70 % do not show 80 [78, 82]."""
    generator = np.random.default_rng(0)
    samples = np.stack([generator.normal(mean, 1, RESAMPLES) for mean in (90, 70)])
    low, high = interval_over_seeds(samples)
    assert low < 70 and high > 90


@pytest.mark.parametrize("spread_of_examples, least", [(0.0, 0.75), (0.5, 0.93)])
def test_intervals_of_three_seeds_hold_the_true_mean_about_as_often_as_they_state(
    spread_of_examples, least
):
    generator = np.random.default_rng(0)
    held = []
    for _ in range(300):
        of_seeds = generator.normal(0, 1, (3, 1))
        measured = of_seeds + generator.normal(0, spread_of_examples, (3, 1))
        samples = measured + generator.normal(0, spread_of_examples, (3, RESAMPLES))
        low, high = interval_over_seeds(samples)
        held.append(low < 0 < high)
    assert least < np.mean(held)


def test_samples_of_a_unit_do_not_depend_on_other_units():
    """Similarity: only a compressed model has cosines to the uncompressed one's vectors."""
    generator = np.random.default_rng(0)
    pairs = {"lee50": generator.random((60, 2))}
    with_cosines = {"cosines_lee50": generator.random(50)} | pairs
    kept = retention_samples(Similarity, [(with_cosines, pairs)], "task", "spearman")
    assert kept == pytest.approx(np.full(1 + RESAMPLES, 100.0))


def test_seeds_that_agree_and_a_single_seed_have_the_interval_of_the_examples():
    samples = np.random.default_rng(0).normal(90, 1, RESAMPLES)
    alone = np.percentile(samples, [2.5, 97.5])
    assert interval_over_seeds(samples[None]) == pytest.approx(alone)
    assert interval_over_seeds(np.stack([samples] * 3)) == pytest.approx(alone)


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
