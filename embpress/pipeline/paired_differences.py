"""Paired differences in retention between all methods of a study at each target ratio.

A difference of two methods is resampled over the same test examples for both, so that its interval
says whether they can be told apart, which intervals of each method alone do not.
"""

import math
from collections.abc import Mapping
from itertools import combinations
from pathlib import Path

import numpy as np
from pandas import DataFrame

from ..study.artefact import ratio_name
from ..study.folders import outcomes_file
from ..study.study import IDENTITY, Study
from ..tasks import Outcomes, task_class
from ..tasks._bootstrap import INTERVAL, retention_samples
from .evaluation import read_outcomes

MEAN = "mean"
"""Mean over all tasks whose models are not trained after compression."""
MEAN_OF_SCORES = "mean_without_perplexity"
"""The same mean without tasks whose scores are better when lower."""
DIFFERENCE_COLUMNS = (
    *("task", "ratio", "first", "second", "first_retention", "second_retention"),
    *("difference", "low", "high", "seeds"),
)
Samples = dict[str, np.ndarray]
"""Retention of each method in percent, (1 + resamples,): of all examples, then of each sample."""


def paired_differences(study: Study, results: Path) -> DataFrame:
    """Differences in retention of each pair of methods, by task, and by mean over tasks.

    Each task and ratio has a row for each pair, and a row for each method against the uncompressed
    model, whose retention is 100. Rows of one ratio hold methods listed at this ratio of the study;
    controls stand at each ratio. A mean has the methods that have a result on all of its tasks.

    Args:
        study: the study.
        results: folder of the study, with the outcomes of its evaluations.

    Returns:
        Rows of DIFFERENCE_COLUMNS. `low` and `high` bound the 95 % interval of `difference`, which
        is first - second in points of retention.
    """
    rows: list[tuple[object, ...]] = []
    samples = {task: _samples_by_ratio(study, task, results) for task in study.tasks}
    means = _averaged(study)
    for ratio in study.ratios:
        by_task = {task: samples[task].get(ratio, {}) for task in study.tasks}
        shown = by_task | {name: _mean_samples(tasks, by_task) for name, tasks in means.items()}
        for task, by_method in shown.items():
            for first, second in combinations(by_method, 2):
                pair = (by_method[first], by_method[second])
                rows.append((task, ratio, first, second, *_difference(*pair), len(study.seeds)))
            for method, own in by_method.items():
                values = _difference(own, np.full_like(own, 100.0))
                rows.append((task, ratio, method, IDENTITY, *values, len(study.seeds)))
    return DataFrame(rows, columns=list(DIFFERENCE_COLUMNS))


def _averaged(study: Study) -> dict[str, list[str]]:
    """Tasks of each mean; a mean of a single task is left out."""
    tasks = [name for name, task in study.tasks.items() if not task.is_student]
    scores = [task for task in tasks if _main_metric(study, task)[1]]
    means = {MEAN: tasks} | ({MEAN_OF_SCORES: scores} if scores != tasks else {})
    return {name: averaged for name, averaged in means.items() if len(averaged) > 1}


def _main_metric(study: Study, task: str) -> tuple[str, bool]:
    """Name of a task's main metric, and whether higher is better."""
    entry = study.tasks[task]
    known = {metric.name: metric for metric in entry.known_metrics}
    main = entry.reported_metrics[0]
    return main, known[main].higher_is_better


def _samples_by_ratio(study: Study, task: str, results: Path) -> dict[float, Samples]:
    """Samples of every method of a task, by ratio of the study."""
    base = _read(study, task, IDENTITY, results)
    chosen: dict[float, Samples] = {ratio: {} for ratio in study.ratios}
    for variant in study.variants_of(task):
        if variant.name == IDENTITY:
            continue
        outcomes = _read(study, task, variant.name, results)
        for ratio, target in _targets(study, variant.ratios, variant.is_control).items():
            name = ratio_name(target)
            if not all(name in by_artefact for by_artefact in outcomes):
                continue  # the method cannot reach this ratio
            pairs = [
                (own[name], uncompressed[ratio_name(1)])
                for own, uncompressed in zip(outcomes, base)
            ]
            chosen[ratio][variant.name] = retention_samples(
                task_class(study.tasks[task].kind), pairs, task, _main_metric(study, task)[0]
            )
    return chosen


def _read(study: Study, task: str, variant: str, results: Path) -> list[dict[str, Outcomes]]:
    """Outcomes of a variant by artefact, one entry a seed."""
    return [
        read_outcomes(outcomes_file(study, task, variant, seed, results)) for seed in study.seeds
    ]


def _targets(study: Study, ratios: tuple[float, ...], is_control: bool) -> dict[float, float]:
    """The target ratio of a method at each ratio of the study under which it is listed.

    Where several are listed there, the nearest one.
    """
    if is_control:
        return dict.fromkeys(study.ratios, 1)
    targets: dict[float, float] = {}
    for target in ratios:
        block = min(study.ratios, key=lambda ratio: abs(math.log(ratio / target)))
        before = targets.get(block, math.inf)
        if abs(math.log(target / block)) < abs(math.log(before / block)):
            targets[block] = target
    return targets


def _mean_samples(tasks: list[str], by_task: Mapping[str, Samples]) -> Samples:
    """Mean over tasks, of the methods that have results on all of them."""
    return {
        method: np.mean([by_task[task][method] for task in tasks], axis=0)
        for method in by_task[tasks[0]]
        if all(method in by_task[task] for task in tasks)
    }


def _difference(first: np.ndarray, second: np.ndarray) -> tuple[float, float, float, float, float]:
    """Both retentions, their difference and the bounds of its interval."""
    low, high = np.percentile(first[1:] - second[1:], INTERVAL)
    return first[0], second[0], first[0] - second[0], float(low), float(high)
