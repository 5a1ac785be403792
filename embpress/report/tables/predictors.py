"""Table of rank correlations: which cheap metric of the matrix predicts retention."""

import math

from ...analysis.predictors import PREDICTOR_METRICS, Correlation, Predictors
from ...analysis.scores import Labels
from .table import Cell, Column, Section, Table, interval_cell, number

NOTES = [
    "Spearman's rank correlation ρ of a metric with retention, with its 95 % bootstrap interval "
    "over "
    "rows; the sign of metrics is chosen so that 1 is best. τ: Kendall's tau-b.",
    "A row is a method at a ratio, averaged over seeds, without controls. Rows that share a "
    "method or a "
    "checkpoint are not independent, so that the intervals are rather too narrow.",
    "All tasks: ranked within each task, then pooled. Equal ratio: ranked within each task and "
    "target "
    "ratio, so that a metric gains nothing by separating ratios. Weighted: by token frequency.",
]


def predictors_table(predictors: Predictors, labels: Labels) -> Table:
    """A row for each metric; correlations of all tasks, at equal ratio, and of each task.

    Args:
        predictors: of `correlate_metrics`.
        labels: of the same study.
    """
    columns = [Column("Metric", align="left")]
    for title, by_metric in (
        ("All tasks", predictors.pooled),
        ("Equal ratio", predictors.equal_ratio),
    ):
        n = _count(by_metric)
        columns.append(Column(f"ρ\n{n}", (title,), short=f"{title}\n{n}"))
        columns += [_interval_column((title,)), Column("τ", (title,))]
    for task, by_metric in predictors.tasks.items():
        n = _count(by_metric)
        head = f"{labels.tasks[task].label}\n{n}"
        columns += [Column(head, short=f"{task[:12]}\n{n}", width=11), _interval_column()]
    rows = []
    for metric, (label, _) in PREDICTOR_METRICS.items():
        row = [Cell(label.capitalize())]
        for by_metric in (predictors.pooled, predictors.equal_ratio):
            row += [*_cells(by_metric, metric), _number_cell(by_metric[metric].tau)]
        for by_metric in predictors.tasks.values():
            row += _cells(by_metric, metric)
        rows.append(row)
    return Table(
        "predictors",
        "Which metric of the matrix predicts retention",
        columns,
        [Section("", rows)],
        NOTES,
        bold="the highest of a column",
        details="below",
    )


def _count(by_metric: dict[str, Correlation]) -> str:
    """The number of rows, the same for all metrics."""
    return f"n={next(iter(by_metric.values())).n}"


def _interval_column(group: tuple[str, ...] = ()) -> Column:
    """The interval of the correlation before it."""
    return Column("95 % interval", group, detail=-1)


def _cells(by_metric: dict[str, Correlation], metric: str) -> list[Cell]:
    """A correlation, in bold if it is the highest as printed, and its interval."""
    correlation = by_metric[metric]
    values = [c.value for c in by_metric.values() if not math.isnan(c.value)]
    best = number(max(values), 2) if values else ""
    cell = _number_cell(correlation.value)
    return [
        Cell(cell.text, cell.sort, bold=cell.text == best),
        interval_cell(correlation.low, correlation.high, 2),
    ]


def _number_cell(value: float) -> Cell:
    """Two decimals."""
    return Cell(number(value, 2), None if math.isnan(value) else value)
