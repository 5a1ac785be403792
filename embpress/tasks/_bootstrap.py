"""Scores, retention and paired bootstrap intervals out of per-example outcomes."""

import zlib
from dataclasses import dataclass

import numpy as np

from . import Metric, Outcomes, Task

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
    """Score / uncompressed score in percent.

    For metrics where lower is better uncompressed / score.
    """
    low: float
    high: float


def _retention(value: np.ndarray, uncompressed: np.ndarray, metric: Metric) -> np.ndarray:
    """In percent; 0 where the denominator is 0."""
    up, down = (value, uncompressed) if metric.higher_is_better else (uncompressed, value)
    return 100 * np.divide(up, down, out=np.zeros_like(up, dtype=float), where=down != 0)


def _whole(sizes: dict[str, int]) -> dict[str, np.ndarray]:
    """Every example once."""
    return {key: np.arange(n)[None] for key, n in sizes.items()}


def _draws(sizes: dict[str, int], name: str) -> dict[str, np.ndarray]:
    """RESAMPLES draws of examples that depend on the task's name alone."""
    generator = np.random.default_rng(zlib.crc32(name.encode()))
    return {key: generator.integers(0, n, (RESAMPLES, n)) for key, n in sizes.items()}


def compare(task: type[Task], outcomes: Outcomes, uncompressed: Outcomes, name: str) -> list[Score]:
    """Every metric of a task, with the interval of its retention from resampling the same examples
    for both models.

    `name` (the task's) seeds the draws: every method of a task is resampled alike.
    """
    sizes = task.sizes(outcomes)
    whole = _whole(sizes)
    draws = _draws(sizes, name)
    point = task.scores(outcomes, whole)
    base = task.scores(uncompressed, whole)
    drawn = task.scores(outcomes, draws)
    drawn_base = task.scores(uncompressed, draws)
    n_examples = task.examples(outcomes)
    scores = []
    for metric in task.metrics:
        if metric.name not in point:
            continue  # a study may leave out some of a task's sets
        low, high = np.percentile(
            _retention(drawn[metric.name], drawn_base[metric.name], metric), INTERVAL
        )
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


def score_of(task: type[Task], outcomes: Outcomes, metric: str) -> float:
    """One metric of a task over all its examples."""
    return float(task.scores(outcomes, _whole(task.sizes(outcomes)))[metric][0])


def mean_scores(
    task: type[Task], outcomes: Outcomes, name: str, metrics: tuple[str, ...]
) -> np.ndarray:
    """Mean over some of a task's metrics, (1 + RESAMPLES,).

    Of all examples, then of the draws that `compare` makes.
    """
    sizes = task.sizes(outcomes)
    found = [task.scores(outcomes, draws) for draws in (_whole(sizes), _draws(sizes, name))]
    return np.concatenate([np.mean([part[metric] for metric in metrics], axis=0) for part in found])


@dataclass(frozen=True)
class Difference:
    """One metric of two compressed models, means over seeds."""

    first: float
    second: float
    low: float
    """Bounds of the interval of first - second."""
    high: float
    n: int


def difference(
    task: type[Task], pairs: list[tuple[Outcomes, Outcomes]], name: str, metric: str
) -> Difference:
    """How far one model's metric is above another's, with its interval from resampling the same
    examples for both.

    Args:
        task: what both ran on.
        pairs: outcomes of the first and the second model, a pair a seed. Seeds share draws, as they
            share test examples.
        name: of the task, which seeds the draws as in `compare`.
        metric: one of the task's.
    """
    sizes = task.sizes(pairs[0][0])
    whole = _whole(sizes)
    draws = _draws(sizes, name)
    points = np.array([[task.scores(side, whole)[metric][0] for side in pair] for pair in pairs])
    drawn = [
        task.scores(first, draws)[metric] - task.scores(second, draws)[metric]
        for first, second in pairs
    ]
    low, high = np.percentile(np.mean(drawn, axis=0), INTERVAL)
    n = task.examples(pairs[0][0]).get(metric, next(iter(sizes.values())))
    first, second = points.mean(0)
    return Difference(float(first), float(second), float(low), float(high), n)
