"""The average score over the tasks of a benchmark, such as GLUE's.

Several tasks may form a group that counts as one task.
"""

from collections.abc import Sequence
from typing import Any

import numpy as np
import pandas
from pandas import DataFrame

from ..analysis.averages import MAIN
from ..analysis.scores import SCORE_COLUMNS
from ..study.artefact import ratio_name
from ..study.metric_names import ERRORS
from ..study.study import IDENTITY, Study
from ..tasks import task_class
from ..tasks._bootstrap import INTERVAL, mean_scores
from .aggregation import Evaluation
from .evaluation import read_outcomes
from .intervals import add_intervals_over_seeds


def average_scores(study: Study, evaluations: list[Evaluation], scores: DataFrame) -> DataFrame:
    """Compute the averages of a study, as rows with the columns of the table of scores.

    A task's score is the mean of its metrics. An average is the mean over tasks, where a group of
    tasks (such as the two parts of MNLI) is averaged first. The interval of the retention is a
    bootstrap over the examples of each task, with the same examples for the compressed and the
    uncompressed model; that of the mean over seeds draws seeds too. A method that does not run on
    all tasks has no row.

    Args:
        study: the study, with `averages`.
        evaluations: the study's evaluations.
        scores: the study's table of scores.

    Returns:
        For each average and artefact, a row of the average and a row of each of its tasks.
    """
    by_key = {(e.task, e.variant, e.seed): e for e in evaluations}
    rows: list[dict[str, Any]] = []
    samples: list[np.ndarray | None] = []
    for name, entry in study.averages.items():
        tasks = entry.all_tasks
        for (variant, ratio, seed), own_scores in scores[scores["task"].isin(tasks)].groupby(
            ["method", "target_ratio", "seed"], dropna=False, sort=False
        ):
            if set(own_scores["task"]) != set(tasks):
                continue
            shared = _shared_columns(own_scores) | {"task": name, "study": study.name}
            if own_scores["value"].isna().any():
                reason = next(note for note in own_scores["note"] if note)
                rows.append(shared | {"metric": MAIN, "note": reason})
                samples.append(None)
                continue
            name_of_ratio = ratio_name(1 if pandas.isna(ratio) else ratio)
            own = {}
            base = {}
            for task in tasks:
                own[task] = _task_scores(study, by_key[task, str(variant), seed], name_of_ratio)
                identity = by_key[task, IDENTITY, seed]
                base[task] = _task_scores(study, identity, ratio_name(1))
            n = own_scores.groupby("task")["n"].max()
            means = [average(side, entry.tasks) for side in (own, base)]
            pairs = [(t, n[t], own[t], base[t]) for t in tasks] + [(MAIN, n.sum(), *means)]
            for metric, count, score, uncompressed in pairs:
                retention = _retention(score, uncompressed)
                columns = {"metric": metric, "n": count}
                rows.append(shared | columns | _columns(score, uncompressed, retention))
                samples.append(retention[1:])
    add_intervals_over_seeds(rows, samples)
    return DataFrame(rows, columns=SCORE_COLUMNS)


def average(scores: dict[str, np.ndarray], groups: Sequence[Sequence[str]]) -> np.ndarray:
    """Mean over tasks of scores of any shape; a group of tasks counts as one task."""
    means = [np.mean([scores[task] for task in group], axis=0) for group in groups]
    return np.mean(means, axis=0)


def _shared_columns(scores: DataFrame) -> dict[str, Any]:
    """Columns that all rows of a method share.

    These are its keys, the lowest ratios, and the mean errors over the tasks' matrices.
    """
    first = scores.drop_duplicates("task")
    keys = ("model", "protocol", "method", "setting", "target_ratio", "factor_dtype", "seed")
    ratios = ("achieved_ratio", "parameter_ratio", "model_ratio")
    row: dict[str, Any] = {key: first[key].iloc[0] for key in keys}
    return (
        row
        | {c: first[c].min() for c in ratios}
        | {c: first[c].mean() for c in ERRORS}
        | {"note": ""}
    )


def _task_scores(study: Study, evaluation: Evaluation, artefact: str) -> np.ndarray:
    """Mean over a task's metrics: of all examples first, then of each bootstrap sample."""
    task = study.tasks[evaluation.task]
    outcomes = read_outcomes(evaluation.outcomes)[artefact]
    return mean_scores(task_class(task.kind), outcomes, evaluation.task, task.averaged_metrics)


def _retention(own: np.ndarray, base: np.ndarray) -> np.ndarray:
    """Retention in % on all examples, then on each bootstrap sample; 0 where the uncompressed model
    scores 0.
    """
    return 100 * np.divide(own, base, out=np.zeros_like(own), where=base != 0)


def _columns(own: np.ndarray, base: np.ndarray, retention: np.ndarray) -> dict[str, float]:
    """Score and retention on all examples, and the bootstrap interval of the retention."""
    low, high = np.percentile(retention[1:], INTERVAL)
    score = {"value": own[0], "uncompressed_value": base[0], "retention": retention[0]}
    return score | {"retention_low": low, "retention_high": high}
