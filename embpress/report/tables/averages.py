"""The average over tasks, and each task's score, as LaTeX."""

import math

from pandas import DataFrame

from ...analysis.scores import Labels, mean_over_seeds
from .latex import PROTOCOLS, footnotes, latex, metric_head, stacked
from .rows import DASH, Column, Notes, Row, dashed, general_notes, number, rows_of, score


def average_table(rows: DataFrame, labels: Labels, name: str) -> str:
    """Score, retention and interval of an average, then the scores of its tasks.

    Args:
        rows: of `averages.average_scores`.
        labels: of `averages.average_labels`.
        name: which average.
    """
    about = labels.tasks[name]
    notes = Notes()
    rows = rows[rows["task"] == name]
    means = mean_over_seeds(rows)

    def found(row: Row, column: str) -> float:
        return getattr(row.found[about.metric], column)

    def interval(row: Row) -> str:
        low = found(row, "retention_low")
        high = found(row, "retention_high")
        return (
            DASH
            if math.isnan(low) or row.method == "identity"
            else f"[{number(low)}, {number(high)}]"
        )

    def task_column(task: str) -> Column:
        # A ratio that a task cannot reach has no scores but one reason, told at the average.
        # Deviations of GLUE's nine tasks would fit no page.
        return Column(
            lambda r: number(100 * r.found[task].value) if task in r.found else DASH,
            lambda r: r.found[task].value if task in r.found else math.nan,
        )

    columns = [
        Column(
            lambda r: dashed(r, about.metric, notes, lambda f: score(f, about)),
            lambda r: found(r, "value"),
        ),
        Column(lambda r: number(found(r, "retention")), lambda r: found(r, "retention")),
        Column(interval),
        *(task_column(task) for task in about.metrics),
    ]
    heads = [metric_head(about.metric_label, about), "{Ret.}", r"{\shortstack{95\,\%\\interval}}"]
    heads += [metric_head(label, about, arrows=False) for label in about.metrics.values()]
    header = rf"Method & {stacked('Ratio reached', 8)} & {' & '.join(heads)} \\"
    protocol = str(means["protocol"].iloc[0]) if len(means) else ""
    general = [
        f"{about.label}, {about.model or 'model'}, {PROTOCOLS.get(protocol, protocol)}.",
        *general_notes(rows, labels, [name]),
        "A task's score: the mean of its metrics. Interval: paired bootstrap over the examples of each task.",
    ]
    lines = rows_of(means, labels, "metric")
    leading = [Column(lambda r: r.ratio("achieved_ratio"))]
    return latex(lines, labels, leading, columns, header, notes) + footnotes(
        notes, general, lines, labels
    )
