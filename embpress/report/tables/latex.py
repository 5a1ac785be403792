"""Scores to LaTeX (booktabs and siunitx).

The strings are put together here rather than by pandas' Styler: blocks, headers of several lines
and footnotes leave the Styler nothing but the cells.
"""

import math
import re
import textwrap
from collections.abc import Callable, Iterable

from pandas import DataFrame

from ...analysis.scores import Labels, TaskLabel, mean_over_seeds
from .rows import (
    DASH,
    PROTOCOLS,
    Column,
    Notes,
    Row,
    average_note,
    averaged,
    blocks_of,
    bold,
    comparison,
    dashed,
    fixed_size,
    general_notes,
    number,
    rows_of,
    score,
    score_columns,
)

BREAK = r"\\"
FOOTNOTESIZE = 90
"""Characters a row may have for the table to fit a page of 6.3 in at \\footnotesize.

Beyond, \\scriptsize.
"""
SPECIAL = {
    "\\": r"\textbackslash{}",
    "~": r"\textasciitilde{}",
    "^": r"\textasciicircum{}",
    "<": "$<$",
    ">": "$>$",
    "|": "$|$",
    "×": r"$\times$",
    "ρ": r"$\rho$",
}
PREAMBLE = (
    "\\documentclass[10pt]{article}\n\\usepackage[a4paper,textwidth=6.3in,textheight=9.7in]{geometry}\n"
    "\\usepackage{array,booktabs,longtable,siunitx}\n\\sisetup{detect-weight=true}\n"
)
"""What a document needs to hold these tables."""
ERRORS = {
    "relative_error": "error",
    "mean_cosine": "cosine",
    "weighted_relative_error": r"w.\\error",
    "weighted_mean_cosine": r"w.\\cosine",
}


def escape(text: str) -> str:
    """Plain text as LaTeX."""
    return re.sub(r"[\\~^<>|×ρ&%$#_{}]", lambda m: SPECIAL.get(m[0], "\\" + m[0]), text)


def cell(text: str, strong: bool) -> str:
    """One cell of an S column: what siunitx cannot read as a number goes in braces."""
    if re.fullmatch(r"-?\d+(\.\d+)?(\(\d+\))?", text):
        return (r"\bfseries " if strong else "") + text
    if text.startswith(DASH):
        mark = text.removeprefix(DASH + "^")
        return f"{{{DASH}}}" if text == DASH else rf"{{{DASH}\textsuperscript{{{mark}}}}}"
    power = re.fullmatch(r"(-?[\d.]+)e(\d+)", text)
    text = rf"${power[1]}{{\cdot}}10^{{{power[2]}}}$" if power else text.replace("inf", r"$\infty$")
    return "{" + (r"\boldmath\bfseries " if strong else "") + text + "}"


def s_column(texts: Iterable[str]) -> str:
    """The S column that just holds these numbers, so that no width is wasted."""
    found = [m for t in texts if (m := re.fullmatch(r"(-?)(\d+)(?:\.(\d+))?(?:\((\d+)\))?", t))]
    if not found:
        return "c"
    whole, decimals, sd = (max(len(m[i] or "") for m in found) for i in (2, 3, 4))
    sign = "-" if any(m[1] for m in found) else ""
    return f"S[table-format={sign}{whole}.{decimals}{f'({sd})' if sd else ''}]"


def method_label(row: Row, labels: Labels, notes: Notes) -> str:
    """The escaped label with its dagger and, for a codec of fixed size, its footnote."""
    method = labels.methods[row.method]
    marks = ""
    if method.reconstruction:
        marks += r"\dagger"
    if sentence := fixed_size(row, labels):
        marks += rf"\mathrm{{{notes.mark(sentence)}}}"
    return escape(method.label) + (f"$^{{{marks}}}$" if marks else "")


def width_of(text: str) -> int:
    """Characters that a cell shows, about, with the gap after it."""
    return len(re.sub(r"\\[a-z]+|[${}^]", "", text)) + 1


def latex(
    rows: list[Row],
    labels: Labels,
    leading: list[Column],
    columns: list[Column],
    header: str,
    notes: Notes,
) -> str:
    """A tabular: labels, right-aligned `leading` columns, S `columns`.

    In blocks with their best in bold.
    """
    # Row by row, so that footnote letters come in reading order.
    table = [
        (method_label(r, labels, notes), [c.text(r) for c in leading], [c.text(r) for c in columns])
        for r in rows
    ]
    lines = []
    position = 0
    for title, block in blocks_of(rows):
        lines.append(r"\midrule")
        if title:
            lines.append(
                rf"\multicolumn{{{1 + len(leading) + len(columns)}}}{{@{{}}l}}{{\itshape {escape(title)}}} \\"
            )
        strong = [bold(block, c) for c in columns]
        for i, (label, first, texts) in enumerate(table[position : position + len(block)]):
            cells = [label, *first, *(cell(t, i in s) for t, s in zip(texts, strong))]
            lines.append(" & ".join(cells) + r" \\")
        position += len(block)
    shown = [[width_of(t) for t in (label, *first, *texts)] for label, first, texts in table]
    spec = (
        "@{}l"
        + "r" * len(leading)
        + "".join(s_column(t) for t in zip(*(texts for *_, texts in table)))
        + "@{}"
    )
    return tabular(spec, header, lines, sum(map(max, zip(*shown))))


def tabular(spec: str, header: str, lines: list[str], width: int) -> str:
    """A tabular between rules, in a size in which rows of `width` characters fit the page."""
    size, gap = ("footnotesize", "1.8pt") if width <= FOOTNOTESIZE else ("scriptsize", "1.3pt")
    body = "\n".join(
        [
            rf"\begin{{tabular}}{{{spec}}}",
            r"\toprule",
            header,
            *lines,
            r"\bottomrule",
            r"\end{tabular}",
        ]
    )
    return (
        f"\\begingroup\\setlength{{\\tabcolsep}}{{{gap}}}\\{size}%\n" + body + "\n\\par\\endgroup\n"
    )


def footnotes(notes: Notes, general: list[str], rows: list[Row], labels: Labels) -> str:
    """What stands under a table.

    General remarks, the dagger, then the lettered notes, in small print.
    """
    dagger = any(labels.methods[r.method].reconstruction for r in rows)
    lines = ["Bold: the best within a budget, among methods that keep it.", *map(escape, general)]
    lines += (
        [r"$^\dagger$\,reconstruction: the paper's full text was not available."] if dagger else []
    )
    lines += [rf"\textsuperscript{{{notes.mark(s)}}}\,{escape(s)}" for s in notes.sentences]
    return "\\par\\smallskip\n{\\scriptsize\\raggedright\n" + "\n".join(lines) + "\n\\par}\n"


def stacked(text: str, width: int = 16) -> str:
    """Text broken into short lines, so that a long label does not widen its columns."""
    lines = [escape(line) for line in textwrap.wrap(text, width, break_long_words=False)]
    return rf"\shortstack{{{BREAK.join(lines)}}}" if len(lines) > 1 else "".join(lines)


def metric_head(label: str, task: TaskLabel, below: str = "", arrows: bool = True) -> str:
    """The head of a score's column, with an arrow to where better is."""
    arrow = r"\,$\uparrow$" if task.higher_is_better else r"\,$\downarrow$"
    lines = [escape(line) for line in textwrap.wrap(label, 10, break_long_words=False)] or [""]
    lines[-1] += arrow if arrows else ""
    return rf"{{\scriptsize\shortstack{{{BREAK.join(lines + ([below] if below else []))}}}}}"


def main_table(scores: DataFrame, labels: Labels) -> str:
    """All methods on all tasks at all ratios.

    Beyond 4 tasks only retention is shown, as the page is full.
    """
    notes = Notes()
    tasks = list(labels.tasks)
    rows = comparison(scores, labels)
    protocols = mean_over_seeds(scores).groupby("task")["protocol"].first()
    wide = len(tasks) <= 4
    leading = [
        Column(lambda r: r.ratio("achieved_ratio")),
        Column(lambda r: r.ratio("model_ratio", spread=True)),
    ]
    columns = [c for t in tasks for c in score_columns(labels, t, notes, wide)]
    alike = averaged(scores, tasks)
    columns.append(Column(lambda r: number(r.retention(alike)), lambda r: r.retention(alike)))
    each = 2 if wide else 1

    def over_columns(texts: Iterable[str]) -> str:
        return " & & " + "".join(rf"& \multicolumn{{{each}}}{{c}}{{{t}}} " for t in texts) + r"& \\"

    rules = "".join(
        rf"\cmidrule(lr){{{4 + each * i}-{3 + each * (i + 1)}}}" for i in range(len(tasks))
    )
    names = [
        f"{metric_head(a.metric_label, a)} & {{ret.}}" if wide else "{ret.}"
        for a in labels.tasks.values()
    ]
    header = [
        over_columns(stacked(a.label, 8 * each) for a in labels.tasks.values()),
        over_columns(rf"\scriptsize {stacked(a.model, 8 * each)}" for a in labels.tasks.values()),
        over_columns(
            rf"\scriptsize {stacked(PROTOCOLS.get(p := str(protocols.get(t, '')), p), 9 * each)}"
            for t in tasks
        ),
        rules,
        rf"Method & {stacked('Ratio reached', 8)} & {stacked('Model ratio', 6)} & {' & '.join(names)} & "
        r"{\shortstack{Mean\\ret.}} \\",
    ]
    general = [
        "Ratio reached: of the embedding, the smallest over tasks.",
        *general_notes(scores, labels, tasks),
    ]
    general += average_note(scores, labels, tasks)
    return latex(rows, labels, leading, columns, "\n".join(header), notes) + footnotes(
        notes, general, rows, labels
    )


def task_table(scores: DataFrame, labels: Labels, task: str) -> str:
    """All metrics of one task, with n, the interval of retention, and the errors of the matrix."""
    about = labels.tasks[task]
    notes = Notes()
    scores = scores[scores["task"] == task]
    means = mean_over_seeds(scores)
    metrics = [about.metric, *sorted(set(means["metric"]) - {about.metric})]
    rows = rows_of(means, labels, "metric")

    def of_main(name: str) -> Callable[[Row], float]:
        return lambda r: (
            getattr(r.found[about.metric], name) if about.metric in r.found else math.nan
        )

    def interval(row: Row) -> str:
        low = of_main("retention_low")(row)
        high = of_main("retention_high")(row)
        return (
            DASH
            if math.isnan(low) or row.method == "identity"
            else f"[{number(low)}, {number(high)}]"
        )

    def metric_column(metric: str) -> Column:
        sign = 1 if about.higher_is_better else -1
        # An infeasible ratio has one row, of the main metric: its reason is told there.
        return Column(
            lambda r: (
                dashed(r, metric, notes, lambda f: score(f, about))
                if metric in r.found or metric == about.metric
                else DASH
            ),
            lambda r: sign * r.found[metric].value if metric in r.found else math.nan,
        )

    leading = [
        Column(lambda r: r.ratio("achieved_ratio")),
        Column(lambda r: r.ratio("parameter_ratio")),
    ]
    columns = [metric_column(m) for m in metrics]
    columns += [
        Column(lambda r: number(of_main("retention")(r)), of_main("retention")),
        Column(interval),
    ]
    columns += [Column(lambda r, name=name: number(of_main(name)(r), 3)) for name in ERRORS]  # type: ignore[misc]
    counts = means.groupby("metric")["n"].max()
    names = []
    for metric in metrics:
        short = metric.removeprefix(about.metric).strip("_").replace("_", " ")
        label = about.metric_label if metric == about.metric else about.metrics.get(metric, short)
        names.append(
            metric_head(label, about, rf"$n{{=}}{counts[metric]}$", arrows=metric == about.metric)
        )
    names += [
        "{Ret.}",
        r"{\shortstack{95\,\%\\interval}}",
        *(rf"{{\shortstack{{{label}}}}}" for label in ERRORS.values()),
    ]
    header = rf"Method & {stacked('Ratio reached', 8)} & {stacked('Param. ratio', 7)} & {' & '.join(names)} \\"
    protocol = str(means["protocol"].iloc[0]) if len(means) else ""
    general = [
        f"{about.label}, {about.model or 'model'}, {PROTOCOLS.get(protocol, protocol)}.",
        *general_notes(scores, labels, [task]),
        "Interval: paired bootstrap over examples.",
        "Error and cosine: of the embedding's rows; w.: weighted by token frequency.",
    ]
    return latex(rows, labels, leading, columns, header, notes) + footnotes(
        notes, general, rows, labels
    )


def latex_document(tables: Iterable[str]) -> str:
    """A document that shows the tables, one a page.

    To look at them, and to test that they compile.
    """
    # A longtable breaks over pages, and may not stand in a float.
    floats = [
        t if "longtable" in t else f"\\begin{{table}}\\centering\n{t}\\end{{table}}" for t in tables
    ]
    pages = "\n\\clearpage\n".join(floats)
    return f"{PREAMBLE}\\begin{{document}}\n{pages}\n\\end{{document}}\n"
