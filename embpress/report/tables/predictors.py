"""Which cheap metric predicts retention: rank correlations as LaTeX and as text."""

import math
import textwrap

from ...analysis.predictors import PREDICTOR_METRICS, Correlation, Predictors
from ...analysis.scores import Labels
from .latex import escape, stacked
from .rows import DASH

WHAT = (
    "Spearman's rank correlation of a metric with retention; metrics are turned so that 1 is best."
)
NOTES = [
    "In brackets: 95 % bootstrap interval over rows. A row is a method at a ratio, mean over seeds; controls are left out.",
    "Rows that share a method or a checkpoint are not independent, so that the intervals are rather too narrow.",
    "All tasks: ranked within each task, then pooled. Equal ratio: ranked within each task and ratio asked, so that a "
    "metric gains nothing by telling ratios apart, as the ratio itself does. Weighted: by token frequency.",
]


def _columns(found: Predictors, labels: Labels) -> list[tuple[str, dict[str, Correlation]]]:
    """Head and correlations by metric of each task, of all tasks, and at equal ratio."""
    tasks = [(labels.tasks[task].label, by_metric) for task, by_metric in found.tasks.items()]
    return [*tasks, ("All tasks", found.pooled), ("Equal ratio", found.equal_ratio)]


def _value(value: float) -> str:
    """Two decimals, or a dash."""
    return DASH if math.isnan(value) else f"{value:.2f}".replace("-0.00", "0.00")


def _interval(correlation: Correlation) -> str:
    """[low, high], or nothing where there is none."""
    return (
        ""
        if math.isnan(correlation.low)
        else f"[{_value(correlation.low)}, {_value(correlation.high)}]"
    )


def _best(by_metric: dict[str, Correlation]) -> str:
    """The highest correlation as printed."""
    values = [c.value for c in by_metric.values() if not math.isnan(c.value)]
    return _value(max(values)) if values else ""


def predictors_table(found: Predictors, labels: Labels) -> str:
    """LaTeX: two lines a metric, the correlation and its interval."""
    columns = _columns(found, labels)
    heads = [stacked(title, 11) for title, _ in columns]
    counts = [f"$n{{=}}{next(iter(by_metric.values())).n}$" for _, by_metric in columns]
    pooled = columns[-2:]
    lines = [rf"\begin{{tabular}}{{@{{}}l{'c' * (len(columns) + len(pooled))}@{{}}}}", r"\toprule"]
    lines.append(
        " & ".join(
            ["Metric", *heads[:-2], *(rf"\multicolumn{{2}}{{c}}{{{h}}}" for h in heads[-2:])]
        )
        + r" \\"
    )
    lines.append(" & ".join(["", *counts[:-2], *(rf"{n} & $\tau$" for n in counts[-2:])]) + r" \\")
    for metric, (label, _) in PREDICTOR_METRICS.items():
        values = [escape(label[0].upper() + label[1:])]
        intervals = [""]
        for column in columns:
            correlation = column[1][metric]
            strong = _value(correlation.value) == _best(column[1])
            values.append(_math(_value(correlation.value), strong))
            intervals.append(
                rf"\tiny {i.replace('-', '$-$')}" if (i := _interval(correlation)) else ""
            )
            if column in pooled:
                values.append(_math(_value(correlation.tau)))
                intervals.append("")
        lines += [r"\midrule" if metric == next(iter(PREDICTOR_METRICS)) else r"\addlinespace[1pt]"]
        lines += [" & ".join(values) + r" \\[-2pt]", " & ".join(intervals) + r" \\"]
    lines += [r"\bottomrule", r"\end{tabular}"]
    notes = [escape(note) for note in (WHAT, "Bold: the highest of a column.", *NOTES)] + [
        r"$\tau$: Kendall's tau-b."
    ]
    # Beyond 4 tasks the page is full.
    size, gap = ("footnotesize", "2.5pt") if len(found.tasks) <= 4 else ("scriptsize", "0.5pt")
    return (
        f"\\begingroup\\setlength{{\\tabcolsep}}{{{gap}}}\\{size}%\n"
        + "\n".join(lines)
        + "\n\\par\\endgroup\n"
        "\\par\\smallskip\n{\\scriptsize\\raggedright\n" + "\n".join(notes) + "\n\\par}\n"
    )


def _math(text: str, strong: bool = False) -> str:
    """A number with a true minus."""
    return text if text == DASH else rf"$\mathbf{{{text}}}$" if strong else f"${text}$"


def predictors_text(found: Predictors, labels: Labels, width: int = 120) -> str:
    """Plain text: the correlation with its interval where `width` allows.

    Else the correlation alone.
    """
    # Short names, as in the main table's text.
    columns = [
        *((task[:12], by_metric) for task, by_metric in found.tasks.items()),
        *_columns(found, labels)[-2:],
    ]
    for intervals in (True, False):
        lines = _text_lines(columns, intervals)
        if max(map(len, lines)) <= width:
            break
    if not intervals:  # where a line cannot hold all, at least the pooled ones keep theirs
        lines += ["", *_text_lines(columns[-2:], True)]
    notes = [WHAT, "Highest of a column: *.", *NOTES]
    return (
        "\n".join(lines + [""] + [w for note in notes for w in textwrap.wrap(note, width)]) + "\n"
    )


def _text_lines(columns: list[tuple[str, dict[str, Correlation]]], intervals: bool) -> list[str]:
    """Heads, numbers of rows and a line a metric, padded."""
    table = [
        ["", *(title for title, _ in columns)],
        ["n", *(str(next(iter(c.values())).n) for _, c in columns)],
    ]
    for metric, (label, _) in PREDICTOR_METRICS.items():
        cells = [label]
        for _, by_metric in columns:
            correlation = by_metric[metric]
            mark = "*" if _value(correlation.value) == _best(by_metric) else " "
            cells.append(
                _value(correlation.value) + mark + f"{_interval(correlation):>15}" * intervals
            )
        table.append(cells)
    widths = [max(len(row[i]) for row in table) for i in range(len(table[0]))]
    lines = ["  ".join(t.rjust(w) for t, w in zip(row[1:], widths[1:])) for row in table]
    return [f"{row[0]:{widths[0]}} {line}".rstrip() for row, line in zip(table, lines)]
