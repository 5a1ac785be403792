import numpy as np
import pytest

from embpress.tasks._bootstrap import compare
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
