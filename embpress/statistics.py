"""Scores, retention and paired bootstrap intervals out of per-example outcomes."""

import zlib
from dataclasses import dataclass

import numpy as np

from .tasks import Metric, Outcomes, Task

RESAMPLES = 1000
INTERVAL = (2.5, 97.5)
"""Percentiles of the 95 % interval."""


@dataclass(frozen=True)
class Score:
    """One metric of one compressed model, beside the uncompressed one."""

    metric: str
    value: float
    n: int
    uncompressed: float
    retention: float
    """Score / uncompressed score in percent; for metrics where lower is better uncompressed / score."""
    low: float
    high: float


def _retention(value: np.ndarray, uncompressed: np.ndarray, metric: Metric) -> np.ndarray:
    """In percent; 0 where the denominator is 0."""
    up, down = (value, uncompressed) if metric.higher_is_better else (uncompressed, value)
    return 100 * np.divide(up, down, out=np.zeros_like(up, dtype=float), where=down != 0)


def compare(task: type[Task], outcomes: Outcomes, uncompressed: Outcomes, name: str) -> list[Score]:
    """Every metric of a task, with the interval of its retention from resampling the same examples for both models.

    `name` (the task's) seeds the draws: every method of a task is resampled alike.
    """
    sizes = task.sizes(outcomes)
    generator = np.random.default_rng(zlib.crc32(name.encode()))
    draws = {key: generator.integers(0, n, (RESAMPLES, n)) for key, n in sizes.items()}
    whole = {key: np.arange(n)[None] for key, n in sizes.items()}
    point, base = task.scores(outcomes, whole), task.scores(uncompressed, whole)
    drawn, drawn_base = task.scores(outcomes, draws), task.scores(uncompressed, draws)
    n_examples = task.examples(outcomes)
    scores = []
    for metric in task.metrics:
        if metric.name not in point:
            continue  # a study may leave out some of a task's sets
        low, high = np.percentile(_retention(drawn[metric.name], drawn_base[metric.name], metric), INTERVAL)
        scores.append(
            Score(
                metric.name,
                float(point[metric.name][0]),
                n_examples.get(metric.name, next(iter(sizes.values()))),
                float(base[metric.name][0]),
                float(_retention(point[metric.name], base[metric.name], metric)[0]),
                float(low),
                float(high),
            )
        )
    return scores
