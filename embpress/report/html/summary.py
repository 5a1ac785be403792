"""Which method for which budget, read off the table of scores."""

from dataclasses import dataclass

from pandas import DataFrame

from ...analysis.scores import Labels, TaskLabel
from ..tables.rows import Row, averaged, blocks_of, comparison, number, score


@dataclass(frozen=True)
class Choice:
    """What to take at one ratio of the study."""

    ratio: float
    method: str
    """Label of the method that keeps most on average; "" where none ran on all tasks."""
    retention: float
    """Its mean over the averaged tasks, in %."""
    worst_task: str
    worst: float
    """The task of which it keeps least, and how much."""
    as_good: list[str]
    """Methods whose 95 % interval reaches its retention on every task."""
    runner_up: str
    runner_up_retention: float
    by_task: dict[str, str]
    """For each task the best method, with its score and what is left of the uncompressed one's."""


def choices(scores: DataFrame, labels: Labels) -> list[Choice]:
    """A choice at every ratio of the study, among methods for the embedding that keep the budget.

    Controls never compete, nor do whole models, whose ratios are of other bits. Averages are over
    `averaged` tasks.
    """
    found = []
    alike = averaged(scores, list(labels.tasks))
    for _, rows in blocks_of(
        [row for row in comparison(scores, labels) if not row.compresses_layers]
    ):
        if rows[0].block == rows[0].block:  # NaN: the uncompressed model and the controls
            found.append(
                _choice([row for row in rows if not row.over_budget], rows[0].block, alike, labels)
            )
    return found


def _choice(rows: list[Row], ratio: float, tasks: list[str], labels: Labels) -> Choice:
    """The choice among the rows of one block, by their mean over some tasks."""
    by_task = {_named(about): _best_of(rows, task, labels) for task, about in labels.tasks.items()}
    ranked = sorted(
        (r for r in rows if r.retention(tasks) == r.retention(tasks)),
        key=lambda r: -r.retention(tasks),
    )
    if not ranked:
        return Choice(ratio, "", float("nan"), "", float("nan"), [], "", float("nan"), by_task)
    best = ranked[0]
    others = ranked[1:]
    worst = min(tasks, key=lambda task: best.found[task].retention)
    as_good = [
        labels.methods[row.method].label
        for row in others
        if all(row.found[t].retention_high >= best.found[t].retention for t in tasks)
    ]
    return Choice(
        ratio,
        labels.methods[best.method].label,
        best.retention(tasks),
        labels.tasks[worst].label,
        best.found[worst].retention,
        as_good,
        labels.methods[others[0].method].label if others else "",
        others[0].retention(tasks) if others else float("nan"),
        by_task,
    )


def _named(task: TaskLabel) -> str:
    """A task with its metric."""
    return f"{task.label}, {task.metric_label}"


def _best_of(rows: list[Row], task: str, labels: Labels) -> str:
    """The method that keeps most of one task's score, in words."""
    measured = [
        r for r in rows if task in r.found and r.found[task].retention == r.found[task].retention
    ]
    if not measured:
        return "nothing measured"
    best = max(measured, key=lambda row: row.found[task].retention)
    about = labels.tasks[task]
    result = best.found[task]
    return f"{labels.methods[best.method].label}: {score(result, about)} ({number(result.retention)}\u00a0%)"
