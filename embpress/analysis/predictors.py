"""Rank correlations between cheap metrics of compressed matrices and the retention of scores.

A row is a method at a ratio, averaged over seeds. Controls are left out, since two outliers would
make any metric look good. The sign of metrics is chosen so that higher is better: a correlation of
1 means that the metric orders the rows as retention does.
"""

import zlib
from dataclasses import dataclass

import numpy as np
from pandas import DataFrame
from scipy.stats import rankdata

from ..study.task_entry import STUDENT_PROTOCOLS
from .scores import Labels, mean_over_seeds

RESAMPLES = 1000
INTERVAL = (2.5, 97.5)
PREDICTOR_METRICS = {
    "achieved_ratio": ("achieved ratio", False),
    "relative_error": ("relative error", False),
    "weighted_relative_error": ("relative error, weighted", False),
    "distance_db": ("distance from the bound", False),
    "weighted_distance_db": ("distance from the bound, weighted", False),
    "mean_cosine": ("mean cosine", True),
    "weighted_mean_cosine": ("mean cosine, weighted", True),
    "neighbour_overlap": ("neighbour overlap", True),
    "weighted_neighbour_overlap": ("neighbour overlap, weighted", True),
    "eigenspace_overlap": ("eigenspace overlap", True),
    "weighted_eigenspace_overlap": ("eigenspace overlap, weighted", True),
}
"""Columns of the table of scores: label, and whether higher is better.

The achieved ratio is the baseline that a metric has to beat.
"""


@dataclass(frozen=True)
class Correlation:
    """A rank correlation of `n` rows with its 95 % bootstrap interval; NaN for less than 3 rows."""

    value: float
    low: float
    high: float
    n: int
    tau: float = float("nan")
    """Kendall's tau-b of the same ranks."""


@dataclass(frozen=True)
class Predictors:
    """Correlations with retention by metric: each task, all tasks, and all tasks at equal ratio.

    The pooled ones leave out tasks whose models are trained after compression.
    """

    tasks: dict[str, dict[str, Correlation]]
    """By task, then by metric."""
    pooled: dict[str, Correlation]
    """Ranks are taken within each task, then correlated over all rows."""
    equal_ratio: dict[str, Correlation]
    """Ranks are taken within each task and target ratio: methods of about the same size."""


def correlate_metrics(scores: DataFrame, labels: Labels) -> Predictors:
    """Correlate every metric with the retention of the main metric."""
    means = mean_over_seeds(scores)
    main = means["task"].map({name: task.metric for name, task in labels.tasks.items()})
    compared = {
        k: method.kind != "control" and not method.compresses_layers
        for k, method in labels.methods.items()
    }
    compressed = means["method"].map(compared)
    rows = means[
        (means["metric"] == main)
        & compressed
        & means["retention"].notna()
        & means["target_ratio"].notna()
        & means["relative_error"].notna()  # a trimmed vocabulary has no matrix to compare
    ]
    # Training after compression changes what an error costs: such tasks are not pooled.
    pooled = rows[~rows["protocol"].isin(STUDENT_PROTOCOLS)]
    blocks = pooled["target_ratio"].map(labels.block)
    return Predictors(
        {task: _all_metrics([rows[rows["task"] == task]], task) for task in labels.tasks},
        _all_metrics([part for _, part in pooled.groupby("task")], "pooled"),
        _all_metrics([part for _, part in pooled.groupby([pooled["task"], blocks])], "equal ratio"),
    )


def _all_metrics(groups: list[DataFrame], name: str) -> dict[str, Correlation]:
    """Correlations of all metrics over the same groups of rows and bootstrap samples."""
    generator = np.random.default_rng(zlib.crc32(name.encode()))
    groups = [g for g in groups if len(g) > 1]  # a single row has no rank
    draws = [generator.integers(0, len(g), (RESAMPLES, len(g))) for g in groups]
    return {metric: _correlation(groups, draws, metric) for metric in PREDICTOR_METRICS}


def _correlation(groups: list[DataFrame], draws: list[np.ndarray], metric: str) -> Correlation:
    """Spearman's rho of ranks within groups, pooled, and Kendall's tau over pairs within groups."""
    sign = 1 if PREDICTOR_METRICS[metric][1] else -1
    # A missing distance from the bound is that of no error: the best value.
    pairs = [
        (g["retention"].to_numpy(), np.nan_to_num(sign * g[metric].to_numpy(), nan=np.inf))
        for g in groups
    ]
    n = sum(len(g) for g in groups)
    if n < 3:
        return Correlation(np.nan, np.nan, np.nan, n)
    value = _pooled_rho([(y[None], x[None]) for y, x in pairs])[0]
    drawn = _pooled_rho([(y[d], x[d]) for (y, x), d in zip(pairs, draws)])
    low, high = np.nanpercentile(drawn, INTERVAL) if np.isfinite(drawn).any() else (np.nan, np.nan)
    return Correlation(float(value), float(low), float(high), n, _tau(pairs))


def _pooled_rho(pairs: list[tuple[np.ndarray, np.ndarray]]) -> np.ndarray:
    """Correlation of ranks that are centred and scaled to the same range within groups.

    Args:
        pairs: retention and metric of each group, both of shape (samples, n).

    Returns:
        Shape (samples,).
    """
    y, x = (np.concatenate([_centred_ranks(pair[i]) for pair in pairs], axis=1) for i in (0, 1))
    norm = np.sqrt((y**2).sum(1) * (x**2).sum(1))
    return np.divide((y * x).sum(1), norm, out=np.full(len(norm), np.nan), where=norm > 0)


def _centred_ranks(values: np.ndarray) -> np.ndarray:
    """Ranks of each line, scaled to about -1 to 1; ties share their mean rank."""
    n = values.shape[1]
    return (rankdata(values, axis=1) - (n + 1) / 2) / (n / 2)


def _tau(pairs: list[tuple[np.ndarray, np.ndarray]]) -> float:
    """Kendall's tau-b over all pairs of rows of one group."""
    signs = [
        [np.sign(np.subtract.outer(v, v)[np.triu_indices(len(v), 1)]) for v in _finite(pair)]
        for pair in pairs
    ]
    y, x = (np.concatenate([s[i] for s in signs]) for i in (0, 1))
    norm = np.sqrt((y**2).sum() * (x**2).sum())
    return float((y * x).sum() / norm) if norm > 0 else float("nan")


def _finite(pair: tuple[np.ndarray, np.ndarray]) -> list[np.ndarray]:
    """Ranks in place of values, as infinities cannot be subtracted."""
    return [rankdata(values) for values in pair]
