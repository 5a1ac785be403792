"""Scores, retention and paired bootstrap intervals from the outcomes of test examples.

Examples and seeds are both drawn with replacement. All seeds run on the same test examples, so the
two are crossed: each sample draws examples, which all seeds share, and draws seeds.
"""

import math
import zlib
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from . import Metric, Outcomes, Task

AnyTask = type[Task[Any]]

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

    For metrics where lower is better uncompressed / score. NaN for metrics that compare a model
    with the uncompressed one.
    """
    low: float
    """Bounds of the interval of the retention over test examples."""
    high: float
    samples: np.ndarray = field(compare=False, repr=False)
    """Retention of each sample of the examples, (RESAMPLES,)."""


def _retention(value: np.ndarray, uncompressed: np.ndarray, metric: Metric) -> np.ndarray:
    """In percent; 0 where the denominator is 0, NaN for a metric that has none."""
    if metric.of_itself is not None:
        return np.full(value.shape, np.nan)
    up, down = (value, uncompressed) if metric.higher_is_better else (uncompressed, value)
    return 100 * np.divide(up, down, out=np.zeros_like(up, dtype=float), where=down != 0)


def _identity_indices(n_units: dict[str, int]) -> dict[str, np.ndarray]:
    """One sample (1, n) that holds every unit once."""
    return {key: np.arange(n)[None] for key, n in n_units.items()}


def _bootstrap_indices(n_units: dict[str, int], name: str) -> dict[str, np.ndarray]:
    """RESAMPLES samples (RESAMPLES, n) of units with replacement, seeded by the task's name.

    Each kind of unit has its own generator: its samples do not depend on which other kinds the
    outcomes hold, which the uncompressed model's do not all.
    """
    drawn = {}
    for key, n in n_units.items():
        generator = np.random.default_rng([zlib.crc32(name.encode()), zlib.crc32(key.encode())])
        drawn[key] = generator.integers(0, n, (RESAMPLES, n))
    return drawn


def mean_over_drawn_seeds(samples: np.ndarray) -> np.ndarray:
    """Mean over seeds that each sample draws with replacement, (RESAMPLES,).

    The mean of S drawn values has (S - 1) / S of the variance that it estimates, for which its
    deviations are scaled (Efron and Tibshirani 1993, section 12.1). In simulations with three seeds
    95 % intervals then hold the true mean in 81 % of cases if only seeds vary, and in 97 % and more
    if the examples of one seed add a standard deviation of half of the seeds' or more.

    All tasks draw the same seeds, as one seed may be behind the results on several tasks.

    Args:
        samples: a statistic of each seed on each sample of the test examples, (S, RESAMPLES). Seeds
            share the samples of examples.
    """
    n_seeds = len(samples)
    if n_seeds == 1:
        return samples[0]
    drawn = np.random.default_rng(n_seeds).integers(0, n_seeds, (RESAMPLES, n_seeds))
    centre = samples.mean(0)
    deviations = np.take_along_axis(samples.T, drawn, axis=1).mean(1) - centre
    return centre + math.sqrt(n_seeds / (n_seeds - 1)) * deviations


def interval_over_seeds(samples: np.ndarray) -> tuple[float, float]:
    """95 % interval of a mean over seeds, from drawing seeds and examples; of a single seed, over
    examples alone.

    Args:
        samples: see `mean_over_drawn_seeds`.
    """
    low, high = np.percentile(mean_over_drawn_seeds(samples), INTERVAL)
    return float(low), float(high)


def compare(task: AnyTask, outcomes: Outcomes, uncompressed: Outcomes, name: str) -> list[Score]:
    """Every metric of a task, with the interval of its retention from resampling the same units for
    both models.

    Args:
        task: the kind of task.
        outcomes: of the compressed model.
        uncompressed: outcomes of the uncompressed model.
        name: of the task, which seeds the samples: every method of a task is resampled alike.
    """
    n_units = task.n_resampling_units(outcomes)
    whole = _identity_indices(n_units)
    samples = _bootstrap_indices(n_units, name)
    value = task.scores(outcomes, whole)
    base = task.scores(uncompressed, whole)
    sampled = task.scores(outcomes, samples)
    sampled_base = task.scores(uncompressed, samples)
    n_examples = task.n_examples(outcomes)
    scores = []
    for metric in task.metrics:
        if metric.name not in value:
            continue  # a study may leave out some of a task's sets
        if metric.of_itself is not None:
            base[metric.name] = sampled_base[metric.name] = np.array([metric.of_itself])
        retentions = _retention(sampled[metric.name], sampled_base[metric.name], metric)
        low, high = np.percentile(retentions, INTERVAL)
        scores.append(
            Score(
                metric.name,
                float(value[metric.name][0]),
                n_examples.get(metric.name, next(iter(n_units.values()))),
                float(base[metric.name][0]),
                float(_retention(value[metric.name], base[metric.name], metric)[0]),
                float(low),
                float(high),
                retentions,
            )
        )
    return scores


def score_of(task: AnyTask, outcomes: Outcomes, metric: str) -> float:
    """One metric of a task over all its examples."""
    whole = _identity_indices(task.n_resampling_units(outcomes))
    return float(task.scores(outcomes, whole)[metric][0])


def mean_scores(
    task: AnyTask, outcomes: Outcomes, name: str, metrics: tuple[str, ...]
) -> np.ndarray:
    """Mean over some of a task's metrics, (1 + RESAMPLES,).

    Of all examples first, then of each sample that `compare` draws.
    """
    n_units = task.n_resampling_units(outcomes)
    samples = (_identity_indices(n_units), _bootstrap_indices(n_units, name))
    means = []
    for indices in samples:
        scores = task.scores(outcomes, indices)
        means.append(np.mean([scores[metric] for metric in metrics], axis=0))
    return np.concatenate(means)


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
    task: AnyTask, pairs: list[tuple[Outcomes, Outcomes]], name: str, metric: str
) -> Difference:
    """Difference of one metric of two models, with its interval from drawing seeds, and the same
    units for both.

    Args:
        task: the kind of task that both ran on.
        pairs: outcomes of the first and the second model, a pair a seed. Seeds share samples, as
            they share test examples.
        name: of the task, which seeds the samples as in `compare`.
        metric: one of the task's.
    """
    n_units = task.n_resampling_units(pairs[0][0])
    whole = _identity_indices(n_units)
    samples = _bootstrap_indices(n_units, name)
    values = np.array([[task.scores(side, whole)[metric][0] for side in pair] for pair in pairs])
    differences = [
        task.scores(first, samples)[metric] - task.scores(second, samples)[metric]
        for first, second in pairs
    ]
    low, high = interval_over_seeds(np.array(differences))
    n = task.n_examples(pairs[0][0]).get(metric, next(iter(n_units.values())))
    first, second = values.mean(0)
    return Difference(float(first), float(second), low, high, n)


def retention_samples(
    task: AnyTask, pairs: list[tuple[Outcomes, Outcomes]], name: str, metric: str
) -> np.ndarray:
    """Retention of one metric in percent, mean over seeds, (1 + RESAMPLES,).

    Of all examples and seeds first, then of each sample that draws both. Samples of two methods of
    a task are paired.

    Args:
        task: the kind of task.
        pairs: outcomes of the compressed and the uncompressed model, a pair a seed.
        name: of the task, which seeds the samples.
        metric: one of the task's.
    """
    about = next(known for known in task.metrics if known.name == metric)
    retentions = np.array(
        [
            _retention(
                mean_scores(task, compressed, name, (metric,)),
                mean_scores(task, uncompressed, name, (metric,)),
                about,
            )
            for compressed, uncompressed in pairs
        ]
    )
    mean = retentions[:, :1].mean(0)
    return np.concatenate([mean, mean_over_drawn_seeds(retentions[:, 1:])])
