"""The best method at each target ratio, from the table of scores."""

import math
from dataclasses import dataclass, field

from pandas import DataFrame

from ...analysis.scores import Labels
from ..tables.rows import Row, averaged_tasks, blocks_of, compared_rows, score_text
from ..tables.table import number

NO_RESULT = "no result"


@dataclass(frozen=True)
class Recommendation:
    """The best methods at one target ratio of the study."""

    ratio: float
    by_task: dict[str, str]
    """For each task (with its metric) the best method, its score and retention."""
    method: str = ""
    """Label of the method with the highest mean retention; "" where none ran on all tasks."""
    retention: float = math.nan
    """Its mean retention over the averaged tasks, in %."""
    worst_task: str = ""
    worst: float = math.nan
    """The task with its lowest retention, and this retention in %."""
    as_good: list[str] = field(default_factory=list)
    """Methods whose 95 % interval reaches its retention on every task."""
    runner_up: str = ""
    runner_up_retention: float = math.nan


def recommend_methods(scores: DataFrame, labels: Labels) -> list[Recommendation]:
    """A recommendation for every target ratio, among methods that reach it.

    Controls are left out, and methods that compress layers, whose ratios cover other matrices.
    Tasks without results of any other method are left out. Means are over `averaged_tasks`.
    """
    rows = [
        row
        for row in compared_rows(scores, labels)
        if not row.compresses_layers and labels.methods[row.method].kind != "control"
    ]
    tasks = [
        task
        for task in labels.tasks
        if any(not math.isnan(row.value(task, "retention")) for row in rows)
    ]
    averaged = averaged_tasks(scores, list(labels.tasks))
    recommendations = []
    for _, block in blocks_of(rows):
        within = [row for row in block if not row.over_budget]
        by_task = {
            f"{labels.tasks[task].label}, {labels.tasks[task].metric_label}": _best(
                within, task, labels
            )
            for task in tasks
        }
        recommendations.append(_recommend(within, block[0].block, averaged, labels, by_task))
    return recommendations


def _recommend(
    rows: list[Row], ratio: float, tasks: list[str], labels: Labels, by_task: dict[str, str]
) -> Recommendation:
    """The recommendation among the rows of one block, by mean retention over some tasks."""
    ranked = sorted(
        (row for row in rows if not math.isnan(row.mean_retention(tasks))),
        key=lambda row: -row.mean_retention(tasks),
    )
    if not ranked:
        return Recommendation(ratio, by_task)
    best, *others = ranked
    worst = min(tasks, key=lambda task: best.value(task, "retention"))
    as_good = [
        labels.methods[row.method].label
        for row in others
        if all(row.value(t, "retention_high") >= best.value(t, "retention") for t in tasks)
    ]
    return Recommendation(
        ratio,
        by_task,
        labels.methods[best.method].label,
        best.mean_retention(tasks),
        labels.tasks[worst].label,
        best.value(worst, "retention"),
        as_good,
        labels.methods[others[0].method].label if others else "",
        others[0].mean_retention(tasks) if others else math.nan,
    )


def _best(rows: list[Row], task: str, labels: Labels) -> str:
    """The method with the highest retention on one task, with its score and retention.

    Says of how many others the 95 % interval reaches its retention.
    """
    results = [row for row in rows if not math.isnan(row.value(task, "retention"))]
    if not results:
        return NO_RESULT
    best = max(results, key=lambda row: row.value(task, "retention"))
    score = score_text(best.results[task], labels.tasks[task])
    retention = best.value(task, "retention")
    others = [row for row in results if row is not best]
    as_good = [row for row in others if row.value(task, "retention_high") >= retention]
    return (
        f"{labels.methods[best.method].label}: {score} ({number(retention)}\u00a0%), "
        f"{len(as_good)} of {len(others)} others as good"
    )
