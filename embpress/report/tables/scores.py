"""Tables of scores: all methods on all tasks, one task, an average over tasks, and every metric."""

import math
from typing import Any

from pandas import DataFrame, isna

from ...analysis.predictors import PREDICTOR_METRICS
from ...analysis.scores import Labels, MethodLabel, mean_over_seeds
from .rows import (
    BEST,
    BF16_BITS,
    FP32_BITS,
    PROTOCOLS,
    Row,
    RowColumn,
    achieved_column,
    average_note,
    averaged_tasks,
    bits_columns,
    bounded_tasks,
    compared_rows,
    interval_note,
    metric_head,
    protocol_note,
    retention_note,
    rows_of,
    score_cell,
    sections_of,
    seed_and_task_notes,
    task_columns,
)
from .table import (
    DAGGER,
    DASH,
    DOUBLE_DAGGER,
    Cell,
    Column,
    Notes,
    Table,
    flat_table,
    interval_cell,
    number_cell,
    ratio_cell,
    text_columns,
)

MOST_TASKS = 4
"""Number of tasks up to which the main table has room for scores beside retention in LaTeX."""
ERRORS = {
    "relative_error": "error",
    "mean_cosine": "cosine",
    "weighted_relative_error": "w. error",
    "weighted_mean_cosine": "w. cosine",
}
METHOD = Column("Method", align="left")
RATIO_KEY = ("Target ratio",)


def main_table(scores: DataFrame, labels: Labels) -> Table:
    """All methods on all tasks at all ratios: scores, retention, and mean retention.

    Args:
        scores: the table of scores.
        labels: of the same study.
    """
    notes = Notes()
    tasks = list(labels.tasks)
    protocols = scores.groupby("task")["protocol"].first()
    averaged = averaged_tasks(scores, tasks)
    columns = [
        RowColumn(
            Column("Kind", align="left", formats=("html",)),
            lambda row: Cell(labels.methods[row.method].kind),
        ),
        achieved_column(),
        *bits_columns(),
        RowColumn(
            Column("Model ratio", align="right", width=6, formats=("latex",)),
            lambda row: row.ratio_cell("model_ratio", spread=True),
        ),
    ]
    if len(tasks) > 1:
        columns.append(_mean_column(Column("Mean ret.", short="mean", width=5), averaged))
    bounded = bounded_tasks(labels, averaged)
    if len(tasks) > 1 and 0 < len(bounded) < len(averaged):
        head = Column("Mean without ppl.", short="no-ppl", width=7)
        columns.append(_mean_column(head, bounded))
    n_leading = 1 + len(columns)
    for task, about in labels.tasks.items():
        protocol = str(protocols.get(task, ""))
        group = (about.label, about.model, PROTOCOLS.get(protocol, protocol))
        columns += task_columns(labels, task, group, notes)
    return Table(
        "main",
        "All methods on all tasks",
        [METHOD, *(column.column for column in columns)],
        sections_of(compared_rows(scores, labels), columns, labels, notes),
        [
            "Achieved ratio: of the embedding, the smallest over tasks.",
            *_mean_notes(labels, averaged),
            retention_note(labels, tasks),
            *average_note(scores, labels, tasks),
            protocol_note(scores, labels),
            *seed_and_task_notes(scores, labels, tasks),
        ],
        notes,
        RATIO_KEY,
        BEST,
        details="columns" if len(tasks) <= MOST_TASKS else "hidden",
        fixed=n_leading,
    )


def _mean_notes(labels: Labels, averaged: list[str]) -> list[str]:
    """What the mean without perplexity leaves out, and why there is one."""
    bounded = bounded_tasks(labels, averaged)
    if not 0 < len(bounded) < len(averaged):
        return []
    left_out = ", ".join(labels.tasks[task].label for task in averaged if task not in bounded)
    return [
        f"Mean without ppl.: without {left_out}, whose retention is exp(-nats lost a token) and "
        "therefore falls faster than that of the other scores."
    ]


def _mean_column(head: Column, tasks: list[str]) -> RowColumn:
    """Mean retention over some tasks."""
    return RowColumn(
        head,
        lambda row: number_cell(row.mean_retention(tasks)),
        lambda row: row.mean_retention(tasks),
    )


def task_table(scores: DataFrame, labels: Labels, task: str) -> Table:
    """All metrics of one task, with n, the interval of retention, and the errors of the matrix."""
    about = labels.tasks[task]
    notes = Notes()
    scores = scores[scores["task"] == task]
    means = mean_over_seeds(scores)
    counts = means.groupby("metric")["n"].max()
    columns = [
        achieved_column(),
        *bits_columns(),
        RowColumn(
            Column("Param. ratio", align="right", width=7),
            lambda row: row.ratio_cell("parameter_ratio"),
        ),
    ]
    for metric in [about.metric, *sorted(set(means["metric"]) - {about.metric})]:
        columns.append(_metric_column(metric, counts[metric], labels, task, notes))
    columns += _retention_columns(about.metric)
    columns += [
        RowColumn(
            Column(head, width=8),
            lambda row, name=name: number_cell(row.value(about.metric, name), 3),  # type: ignore[misc]
        )
        for name, head in ERRORS.items()
    ]
    return Table(
        task,
        f"All metrics: {about.label}",
        [METHOD, *(column.column for column in columns)],
        sections_of(rows_of(means, labels, "metric"), columns, labels, notes),
        [
            _setting(means, labels, task),
            retention_note(labels, [task]),
            *seed_and_task_notes(scores, labels, [task]),
            interval_note(scores),
            "Error and cosine: of the embedding's rows; w.: weighted by token frequency.",
        ],
        notes,
        RATIO_KEY,
        BEST,
    )


def average_table(averages: DataFrame, labels: Labels, name: str) -> Table:
    """Score, retention and interval of an average over tasks, then the scores of its tasks.

    Args:
        averages: results/averages.csv.
        labels: of the study's averages, with which `average_scores` are shown.
        name: which average.
    """
    about = labels.tasks[name]
    notes = Notes()
    rows = averages[averages["task"] == name]
    means = mean_over_seeds(rows)

    def task_score(row: Row, task: str) -> Cell:
        # A ratio that a task cannot reach has no scores but one reason, told at the average. The
        # standard deviations of nine tasks would not fit a page.
        return number_cell(100 * row.value(task, "value"))

    columns = [
        achieved_column(),
        RowColumn(
            Column(metric_head(about)),
            lambda row: score_cell(row, about.metric, about, notes),
            lambda row: row.value(about.metric, "value"),
        ),
        *_retention_columns(about.metric),
    ]
    columns += [
        RowColumn(
            Column(label, short=task[:10]),
            lambda row, task=task: task_score(row, task),  # type: ignore[misc]
            lambda row, task=task: row.value(task, "value"),  # type: ignore[misc]
        )
        for task, label in about.metrics.items()
    ]
    return Table(
        f"average_{name}",
        f"Average over tasks: {about.label}",
        [METHOD, *(column.column for column in columns)],
        sections_of(rows_of(means, labels, "metric"), columns, labels, notes),
        [
            _setting(means, labels, name),
            retention_note(labels, [name]),
            *seed_and_task_notes(rows, labels, [name]),
            "A task's score is the mean of its metrics.",
            interval_note(rows, "the test examples of each task"),
        ],
        notes,
        RATIO_KEY,
        BEST,
        fixed=5,
    )


def _metric_column(metric: str, n: int, labels: Labels, task: str, notes: Notes) -> RowColumn:
    """One metric of a task with its number of test examples."""
    about = labels.tasks[task]
    sign = 1 if about.is_higher_better(metric) else -1
    label = metric.removeprefix(about.metric).strip("_").replace("_", " ")
    head = about.metrics.get(metric, label)
    if metric == about.metric:
        head = metric_head(about)
    elif sign < 0:
        head += "\u00a0↓"
    return RowColumn(
        Column(f"{head}\nn={n}"),
        # A ratio that is not reached has one row, of the main metric, which tells the reason.
        lambda row: (
            score_cell(row, metric, about, notes)
            if metric in row.results or metric == about.metric
            else Cell(DASH)
        ),
        lambda row: sign * row.value(metric, "value"),
    )


def _retention_columns(metric: str) -> list[RowColumn]:
    """Retention with its interval."""

    def interval(row: Row) -> Cell:
        if row.method == "identity":
            return Cell(DASH)
        low = row.value(metric, "retention_low")
        return interval_cell(low, row.value(metric, "retention_high"))

    return [
        RowColumn(
            Column("Ret.", short="ret."),
            lambda row: number_cell(row.value(metric, "retention")),
            lambda row: row.value(metric, "retention"),
        ),
        RowColumn(Column("95 % interval", short="95 % interval", width=8), interval),
    ]


def _setting(means: DataFrame, labels: Labels, task: str) -> str:
    """Task, model and protocol."""
    about = labels.tasks[task]
    protocol = str(means["protocol"].iloc[0]) if len(means) else ""
    return f"{about.label}, {about.model or 'model'}, {PROTOCOLS.get(protocol, protocol)}."


def every_metric_table(scores: DataFrame, labels: Labels) -> Table:
    """Every metric of every task, with intervals."""
    rows = []
    for row in mean_over_seeds(scores).itertuples():
        result: Any = row
        about = labels.tasks[result.task]
        scale = 100 if about.is_percent(result.metric) else 1
        label = about.label_of(result.metric)
        rows.append(
            [
                Cell(about.label),
                Cell(label),
                method_cell(labels.methods[result.method]),
                ratio_cell(result.target_ratio),
                number_cell(result.achieved_ratio, 2),
                number_cell(FP32_BITS / result.achieved_ratio, 2),
                number_cell(result.achieved_ratio * BF16_BITS / FP32_BITS, 2),
                number_cell(result.value * scale, 2),
                number_cell(result.value_sd * scale, 2),
                number_cell(result.retention, 2),
                interval_cell(result.retention_low, result.retention_high, 2),
                number_cell(math.nan if isna(result.n) else float(result.n), 0),
                Cell(result.note),
            ]
        )
    columns = [
        *text_columns("Task", "Metric", "Method"),
        *map(Column, ("Target ratio", "Achieved ratio", "Bits a weight", "Against bf16")),
        *map(Column, ("Score", "Standard deviation over seeds")),
        *map(Column, ("Ret.", "95 % interval of ret.", "n")),
        *text_columns("Note"),
    ]
    notes = [interval_note(scores), "n: number of test examples."]
    return flat_table("scores", "Every metric", columns, rows, *notes)


def errors_table(scores: DataFrame, labels: Labels) -> Table:
    """Reconstruction metrics of each compressed matrix."""
    means = mean_over_seeds(scores)
    main = means["metric"] == means["task"].map({k: t.metric for k, t in labels.tasks.items()})
    means = means[main & means["relative_error"].notna()]
    checkpoint = means["task"].map({k: t.checkpoint or t.model for k, t in labels.tasks.items()})
    # Tasks that share a checkpoint share its matrices.
    matrices = means.assign(checkpoint=checkpoint).drop_duplicates(
        ["checkpoint", "method", "target_ratio"]
    )
    metrics = [metric for metric in PREDICTOR_METRICS if metric != "achieved_ratio"]
    rows = [
        [
            Cell(row["checkpoint"]),
            Cell(labels.methods[row["method"]].label),
            ratio_cell(row["target_ratio"]),
            number_cell(row["achieved_ratio"], 2),
            *(number_cell(row[metric], 2 if metric.endswith("_db") else 4) for metric in metrics),
        ]
        for _, row in matrices.iterrows()
    ]
    heads = ["Target ratio", "Achieved ratio"]
    heads += [PREDICTOR_METRICS[metric][0].capitalize() for metric in metrics]
    columns = [*text_columns("Checkpoint", "Method"), *map(Column, heads)]
    return flat_table(
        "errors",
        "Reconstruction metrics",
        columns,
        rows,
        "Weighted: by token counts. Distance: in dB, from the rate-distortion bound for Gaussian "
        "rows.",
    )


def method_cell(method: MethodLabel) -> Cell:
    """A method's label with its symbols."""
    marks = [DAGGER] * method.reconstruction + [DOUBLE_DAGGER] * method.compresses_layers
    return Cell(method.label, marks=tuple(marks))
