"""Rank correlations of the made-up study against scipy, and what must not sway them."""

import numpy as np
import pytest
from scipy.stats import kendalltau, spearmanr

from embpress.analysis.predictors import PREDICTOR_METRICS, correlate_metrics
from embpress.analysis.scores import mean_over_seeds

from ..fake_study import fake_labels, fake_scores

LABELS = fake_labels()


def scores(seed=0):
    """The made-up scores with metrics that are noise but for the relative error."""
    frame = fake_scores()
    generator = np.random.default_rng(seed)
    noise = {
        m: generator.normal(size=len(frame))
        for m in PREDICTOR_METRICS
        if m not in ("achieved_ratio", "relative_error")
    }
    return frame.assign(
        **{m: np.where(frame["retention"].notna(), v, np.nan) for m, v in noise.items()}
    )


def compressed(frame, task):
    """The rows that count, without `correlate_metrics`' own code."""
    means = mean_over_seeds(frame)
    means = means[(means["task"] == task) & (means["metric"] == LABELS.tasks[task].metric)]
    return means[~means["method"].isin(["identity", "random", "mean"]) & means["retention"].notna()]


@pytest.mark.parametrize("metric", PREDICTOR_METRICS)
def test_a_task_agrees_with_scipy(metric):
    frame = scores()
    found = correlate_metrics(frame, LABELS).tasks["rotten"][metric]
    rows = compressed(frame, "rotten")
    sign = 1 if PREDICTOR_METRICS[metric][1] else -1
    assert found.n == len(rows) == 20
    assert found.value == pytest.approx(sign * spearmanr(rows[metric], rows["retention"]).statistic)
    assert found.tau == pytest.approx(sign * kendalltau(rows[metric], rows["retention"]).statistic)
    assert found.low <= found.value <= found.high


def test_pooled_is_the_mean_over_tasks_of_equal_size():
    found = correlate_metrics(scores(), LABELS)
    for metric in PREDICTOR_METRICS:
        by_task = [found.tasks[task][metric].value for task in LABELS.tasks]
        assert found.pooled[metric].value == pytest.approx(np.mean(by_task))
        assert found.pooled[metric].n == 4 * 20


def test_the_interval_is_scipys_bootstrap():
    frame = scores()
    rows = compressed(frame, "rotten")
    generator = np.random.default_rng(5)
    draws = [generator.integers(0, len(rows), len(rows)) for _ in range(1000)]
    values = [
        -spearmanr(rows["relative_error"].iloc[d], rows["retention"].iloc[d]).statistic
        for d in draws
    ]
    found = correlate_metrics(frame, LABELS).tasks["rotten"]["relative_error"]
    assert np.allclose([found.low, found.high], np.percentile(values, (2.5, 97.5)), atol=0.05)


def test_at_equal_ratio_a_metric_that_only_tells_ratios_apart_is_worth_nothing():
    frame = scores()
    frame["mean_cosine"] = -frame["target_ratio"].map(LABELS.block, na_action="ignore")
    found = correlate_metrics(frame, LABELS)
    assert found.pooled["mean_cosine"].value > 0.4
    assert np.isnan(found.equal_ratio["mean_cosine"].value)
    # Retention falls with the made-up error at every ratio, but for the noise.
    assert found.equal_ratio["relative_error"].value > 0.9


def test_controls_seeds_and_other_metrics_change_nothing():
    frame = scores()
    expected = correlate_metrics(frame, LABELS)
    controls = frame["method"].isin(["random", "mean", "identity"])
    other = frame["metric"] != frame["task"].map({k: t.metric for k, t in LABELS.tasks.items()})
    columns = ["retention", *PREDICTOR_METRICS]
    frame.loc[controls | other, columns] = np.random.default_rng(1).normal(
        size=((controls | other).sum(), len(columns))
    )
    assert correlate_metrics(frame, LABELS) == expected


def test_a_missing_distance_is_that_of_a_perfect_row():
    frame = scores()
    best = (frame["method"] == "b23") & (frame["target_ratio"] == 4)
    nans = frame.copy()
    small = frame.copy()
    nans.loc[best, "distance_db"], small.loc[best, "distance_db"] = np.nan, -1e9
    assert correlate_metrics(nans, LABELS) == correlate_metrics(small, LABELS)


def test_rows_without_metrics_are_left_out():
    """A trimmed vocabulary has a score and no matrix to compare."""
    frame = scores()
    trimmed = (frame["method"] == "b23") & (frame["target_ratio"] == 4)
    nans = frame.copy()
    nans.loc[trimmed, [m for m in PREDICTOR_METRICS if m != "achieved_ratio"]] = np.nan
    assert correlate_metrics(nans, LABELS) == correlate_metrics(frame[~trimmed], LABELS)


def test_a_study_of_two_rows_has_no_correlation():
    frame = scores()
    frame = frame[
        (frame["task"] == "rotten") & (frame["method"] == "svd") & (frame["target_ratio"] < 20)
    ]
    found = correlate_metrics(frame, LABELS)
    assert (
        np.isnan(found.tasks["rotten"]["relative_error"].value)
        and found.tasks["bitext"]["relative_error"].n == 0
    )


def test_what_is_pooled_leaves_students_out(scores, labels):
    without = correlate_metrics(scores[scores["task"] != "rotten"], labels)
    scores.loc[scores["task"] == "rotten", "protocol"] = "compress_then_distil"
    found = correlate_metrics(scores, labels)
    assert {name: c.n for name, c in found.pooled.items()} == {
        name: c.n for name, c in without.pooled.items()
    }
    assert found.tasks["rotten"]
