"""The average over the tasks of a benchmark, as GLUE has it.

Means of tasks, of which some may count as one.
"""

from typing import Any

import numpy as np
import pandas
from pandas import DataFrame

from ..analysis.averages import MAIN
from ..analysis.scores import SCORE_COLUMNS
from ..study import config as study_config
from ..study.metric_names import ERRORS, metrics_of
from ..tasks import task_class
from ..tasks._bootstrap import INTERVAL, mean_scores
from .aggregation import Evaluation
from .evaluation import read_outcomes


def average_scores(
    config: dict[str, Any], evaluations: list[Evaluation], scores: DataFrame
) -> DataFrame:
    """Rows as those of the table of scores, where the task is an average: its own score, and each
    of its tasks'.

    A task's score is the mean of its metrics, an average's the mean over tasks, those that count as
    one (MNLI's two halves) averaged before. Retention is that of the average; its interval draws
    each task's examples anew, alike for both models. A method has no row where it does not run on
    all of the tasks.

    Args:
        config: of the study, with `averages`.
        evaluations: of the study.
        scores: the study's table of scores.
    """
    found = {(e.task, e.variant, e.seed): e for e in evaluations}
    rows = []
    for name, entry in config["averages"].items():
        tasks = study_config.tasks_of_average(entry)
        for (variant, ratio, seed), part in scores[scores["task"].isin(tasks)].groupby(
            ["method", "target_ratio", "seed"], dropna=False, sort=False
        ):
            if set(part["task"]) != set(tasks):
                continue
            about = _about(part, tasks) | {"task": name, "study": config["study"]}
            if part["value"].isna().any():
                rows.append(
                    about | {"metric": MAIN, "note": next(note for note in part["note"] if note)}
                )
                continue
            artefact = "1" if pandas.isna(ratio) else f"{ratio:g}"
            own = {t: _task_scores(config, found[t, str(variant), seed], artefact) for t in tasks}
            base = {
                t: _task_scores(config, found[t, study_config.IDENTITY, seed], "1") for t in tasks
            }
            n = part.groupby("task")["n"].max()
            rows += [about | {"metric": t, "n": n[t]} | _compared(own[t], base[t]) for t in tasks]
            means = [average(side, entry["tasks"]) for side in (own, base)]
            rows.append(about | {"metric": MAIN, "n": n.sum()} | _compared(*means))
    return DataFrame(rows, columns=SCORE_COLUMNS)


def average(scores: dict[str, np.ndarray], tasks: list[str | list[str]]) -> np.ndarray:
    """Mean over tasks of scores of any shape; a list among the tasks counts as one of them."""
    return np.mean(
        [
            np.mean([scores[task] for task in study_config.as_list(group)], axis=0)
            for group in tasks
        ],
        axis=0,
    )


def _about(part: DataFrame, tasks: list[str]) -> dict[str, Any]:
    """Columns that all rows of a method share.

    Its keys, the least ratio, and the mean errors of the tasks' matrices.
    """
    first = part.drop_duplicates("task")
    keys = ("model", "protocol", "method", "target_ratio", "factor_dtype", "seed")
    ratios = ("achieved_ratio", "parameter_ratio", "model_ratio")
    row: dict[str, Any] = {key: first[key].iloc[0] for key in keys}
    return (
        row
        | {c: first[c].min() for c in ratios}
        | {c: first[c].mean() for c in ERRORS}
        | {"note": ""}
    )


def _task_scores(config: dict[str, Any], evaluation: Evaluation, artefact: str) -> np.ndarray:
    """Mean over a task's metrics: of all examples, then of each draw of them."""
    task = config["tasks"][evaluation.task]
    outcomes = read_outcomes(evaluation.outcomes)[artefact]
    return mean_scores(task_class(task["kind"]), outcomes, evaluation.task, metrics_of(task))


def _compared(own: np.ndarray, base: np.ndarray) -> dict[str, float]:
    """Score and retention of the whole, and the interval of the draws.

    0 where the uncompressed model has 0.
    """
    retention = 100 * np.divide(own, base, out=np.zeros_like(own), where=base != 0)
    low, high = np.percentile(retention[1:], INTERVAL)
    whole = {"value": own[0], "uncompressed_value": base[0], "retention": retention[0]}
    return whole | {"retention_low": low, "retention_high": high}
