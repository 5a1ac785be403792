"""Scores to LaTeX (booktabs and siunitx) and to plain text.

The strings are put together here rather than by pandas' Styler: blocks, headers of several lines and footnotes leave
the Styler nothing but the cells.
"""

import math
import re
import textwrap
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from typing import Any

from pandas import DataFrame

from .errors import UserError
from .scores import Labels, TaskLabel, over_seeds

DASH = "--"
BREAK = r"\\"
FOOTNOTESIZE = 90
"""Characters a row may have for the table to fit a page of 6.3 in at \\footnotesize; beyond, \\scriptsize."""
SPECIAL = {
    "\\": r"\textbackslash{}",
    "~": r"\textasciitilde{}",
    "^": r"\textasciicircum{}",
    "<": "$<$",
    ">": "$>$",
    "|": "$|$",
    "×": r"$\times$",
}
PROTOCOLS = {
    "zero_shot": "zero-shot",
    "finetune_then_compress": "fine-tuned, then compressed",
    "compress_then_finetune": "compressed, then fine-tuned",
}
ERRORS = {
    "relative_error": "error",
    "mean_cosine": "cosine",
    "weighted_relative_error": r"w.\\error",
    "weighted_mean_cosine": r"w.\\cosine",
}


def escape(text: str) -> str:
    """Plain text as LaTeX."""
    return re.sub(r"[\\~^<>|×&%$#_{}]", lambda m: SPECIAL.get(m[0], "\\" + m[0]), text)


@dataclass
class Notes:
    """Footnotes of one table: a letter for each sentence, the same letter for the same sentence."""

    sentences: list[str] = field(default_factory=list)

    def mark(self, sentence: str) -> str:
        """The letter of a sentence: a, b, ..., z, aa, ..."""
        sentence = sentence.rstrip(".") + "."
        if sentence not in self.sentences:
            self.sentences.append(sentence)
        number, letters = self.sentences.index(sentence) + 1, ""
        while number:
            number, digit = divmod(number - 1, 26)
            letters = chr(ord("a") + digit) + letters
        return letters


@dataclass
class Row:
    """A method at one ratio. `found` holds, per column (a task or a metric), the mean over seeds, or a note why not."""

    method: str
    asked: float
    block: float
    """The study's ratio under which it is listed; NaN for controls."""
    found: dict[str, Any]

    def spread(self, column: str) -> tuple[float, float]:
        """Smallest and largest over the columns; NaN where nothing was measured."""
        values = [v for f in self.found.values() if not math.isnan(v := getattr(f, column))]
        return (min(values), max(values)) if values else (math.nan, math.nan)

    @property
    def over_budget(self) -> bool:
        """Whether it is larger than its block allows: shown, but out of the competition."""
        return self.spread("ratio_reached")[0] < self.block * (1 - 1e-9)

    def ratio(self, column: str, spread: bool = False) -> str:
        """A ratio, the smallest or its range over the columns; a dash for controls, which have no size to compare."""
        if math.isnan(self.block) and self.method != "identity":
            return DASH
        # Rounded down: 3.96 must not look as if it kept a budget of 4.
        low, high = (math.floor(v * 10 + 1e-6) / 10 if math.isfinite(v) else v for v in self.spread(column))
        return span(low, high) if spread else number(low)

    def retention(self, tasks: Iterable[str]) -> float:
        """Mean over the tasks; NaN unless all were measured, since a mean over the easy tasks would flatter."""
        values = [self.found[t].retention if t in self.found else math.nan for t in tasks]
        return sum(values) / len(values)


def rows_of(means: DataFrame, labels: Labels, column: str) -> list[Row]:
    """All rows, ordered: identity, blocks by ratio (baselines, papers), other controls. `found` is keyed by `column`."""
    unknown = sorted(set(means["method"]) - set(labels.methods))
    if unknown:
        raise UserError(f"no label for method(s) {', '.join(unknown)}: make scores and labels from the same study")
    order = {m: i for i, m in enumerate(labels.methods)}
    rows: dict[tuple[Any, ...], Row] = {}
    for result in means.itertuples():
        asked: Any = result.ratio_asked
        block = math.nan if math.isnan(asked) else labels.block(asked)
        kind = labels.methods[str(result.method)].kind
        place = 1 if kind != "control" else 0 if result.method == "identity" else 2
        key = (
            place,
            -1 if place != 1 else block,
            kind != "baseline",
            order[str(result.method)],
            -1 if place != 1 else asked,
        )
        rows.setdefault(key, Row(str(result.method), asked, block, {})).found[str(getattr(result, column))] = result
    return [rows[key] for key in sorted(rows)]


def blocks_of(rows: list[Row]) -> list[tuple[str, list[Row]]]:
    """Titles ("" for the uncompressed row) and the rows below each."""
    blocks: dict[str, list[Row]] = {}
    for row in rows:
        identity = "" if row.method == "identity" else "Controls"
        blocks.setdefault(identity if math.isnan(row.block) else f"Asked {row.block:g}×", []).append(row)
    return list(blocks.items())


def number(value: float, decimals: int = 1, sd: float = math.nan) -> str:
    """For an S column or plain text: 12.3, 12.3(4) with a standard deviation, a power of ten beyond 9999, or a dash."""
    if math.isnan(value):
        return DASH
    if math.isinf(value):
        return "inf"
    if abs(value) >= 9999.5:
        return f"{value:.1e}".replace("e+0", "e").replace("e+", "e")
    decimals = 0 if abs(value) >= 1000 else decimals
    return f"{value:.{decimals}f}" + ("" if math.isnan(sd) else f"({sd * 10**decimals:.0f})")


def span(low: float, high: float) -> str:
    """A range, or one number where both ends round to the same."""
    low_text, high_text = number(low), number(high)
    return low_text if low_text == high_text else f"{low_text}--{high_text}"


def score(result: Any, task: TaskLabel) -> str:
    """A score as shown, with its standard deviation over seeds if there are several."""
    scale = 100 if task.percent else 1
    return number(result.value * scale, sd=result.value_sd * scale)


@dataclass(frozen=True)
class Column:
    """A column of numbers: what a row shows, and how the best is told (None: no best)."""

    text: Callable[[Row], str]
    best: Callable[[Row], float] | None = None
    """Higher is better."""


def bold(rows: list[Row], column: Column) -> set[int]:
    """Positions of the rows within a block that show its best number; ties as printed share it."""
    if column.best is None:
        return set()
    fit = [(i, v) for i, r in enumerate(rows) if not r.over_budget and not math.isnan(v := column.best(r))]
    if not fit or math.isnan(rows[0].block):
        return set()
    shown = {i: column.text(rows[i]).split("(")[0] for i, _ in fit}
    best = shown[max(fit, key=lambda pair: pair[1])[0]]
    return {i for i, text in shown.items() if text == best}


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


def fixed_size(row: Row, labels: Labels) -> str:
    """What to say of a codec that is asked for at its own ratio rather than the study's; "" for all others."""
    if math.isnan(row.block) or row.asked in labels.ratios:
        return ""
    over = ": larger than this block allows, so never marked best" if row.over_budget else ""
    return f"Of fixed size, asked for at {row.asked:g}×{over}."


def method_label(row: Row, labels: Labels, notes: Notes) -> str:
    """The escaped label with its dagger and, for a codec of fixed size, its footnote."""
    method, marks = labels.methods[row.method], ""
    if method.reconstruction:
        marks += r"\dagger"
    if sentence := fixed_size(row, labels):
        marks += rf"\mathrm{{{notes.mark(sentence)}}}"
    return escape(method.label) + (f"$^{{{marks}}}$" if marks else "")


def _width(text: str) -> int:
    """Characters that a cell shows, about, with the gap after it."""
    return len(re.sub(r"\\[a-z]+|[${}^]", "", text)) + 1


def latex(rows: list[Row], labels: Labels, leading: list[Column], columns: list[Column], header: str, notes: Notes) -> str:
    """A tabular: labels, right-aligned `leading` columns, S `columns`, in blocks with their best in bold."""
    # Row by row, so that footnote letters come in reading order.
    table = [(method_label(r, labels, notes), [c.text(r) for c in leading], [c.text(r) for c in columns]) for r in rows]
    lines, position = [], 0
    for title, block in blocks_of(rows):
        lines.append(r"\midrule")
        if title:
            lines.append(rf"\multicolumn{{{1 + len(leading) + len(columns)}}}{{@{{}}l}}{{\itshape {escape(title)}}} \\")
        strong = [bold(block, c) for c in columns]
        for i, (label, first, texts) in enumerate(table[position : position + len(block)]):
            cells = [label, *first, *(cell(t, i in s) for t, s in zip(texts, strong))]
            lines.append(" & ".join(cells) + r" \\")
        position += len(block)
    shown = [[_width(t) for t in (label, *first, *texts)] for label, first, texts in table]
    size, gap = ("footnotesize", "1.8pt") if sum(map(max, zip(*shown))) <= FOOTNOTESIZE else ("scriptsize", "1.3pt")
    spec = "@{}l" + "r" * len(leading) + "".join(s_column(t) for t in zip(*(texts for *_, texts in table))) + "@{}"
    body = "\n".join([rf"\begin{{tabular}}{{{spec}}}", r"\toprule", header, *lines, r"\bottomrule", r"\end{tabular}"])
    return f"\\begingroup\\setlength{{\\tabcolsep}}{{{gap}}}\\{size}%\n" + body + "\n\\par\\endgroup\n"


def footnotes(notes: Notes, general: list[str], rows: list[Row], labels: Labels) -> str:
    """What stands under a table: general remarks, the dagger, then the lettered notes, in small print."""
    dagger = any(labels.methods[r.method].reconstruction for r in rows)
    lines = ["Bold: the best within a budget, among methods that keep it.", *map(escape, general)]
    lines += [r"$^\dagger$\,reconstruction: the paper's full text was not available."] if dagger else []
    lines += [rf"\textsuperscript{{{notes.mark(s)}}}\,{escape(s)}" for s in notes.sentences]
    return "\\par\\smallskip\n{\\scriptsize\\raggedright\n" + "\n".join(lines) + "\n\\par}\n"


def dashed(row: Row, key: str, notes: Notes, show: Callable[[Any], str]) -> str:
    """What `show` makes of a result; a dash where there is none, with the letter of the reason."""
    result = row.found.get(key)
    if result is None:
        return DASH + "^" + notes.mark("Not part of this study.")
    return f"{DASH}^{notes.mark(result.note or 'No score.')}" if math.isnan(result.value) else show(result)


def comparison(scores: DataFrame, labels: Labels) -> list[Row]:
    """Rows of the main table: the main metric of every task."""
    means = over_seeds(scores)
    main = {k: t.metric for k, t in labels.tasks.items()}
    return rows_of(means[means["metric"] == means["task"].map(main)], labels, "task")


def score_columns(labels: Labels, task: str, notes: Notes, both: bool) -> list[Column]:
    """Score and retention of one task, or retention alone."""
    about = labels.tasks[task]
    sign = 1 if about.higher_is_better else -1

    def found(row: Row, name: str) -> float:
        return getattr(row.found[task], name) if task in row.found else math.nan

    def retained(row: Row) -> str:
        return number(found(row, "retention")) if both else dashed(row, task, notes, lambda f: number(f.retention))

    retention = Column(retained, lambda r: found(r, "retention"))
    show = Column(lambda r: dashed(r, task, notes, lambda f: score(f, about)), lambda r: sign * found(r, "value"))
    return [show, retention] if both else [retention]


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


def general_notes(scores: DataFrame, labels: Labels, tasks: list[str]) -> list[str]:
    """Remarks for all of a table: what retention is, seeds, the tasks' own footnotes."""
    lower = sorted({labels.tasks[t].metric_label for t in tasks if not labels.tasks[t].higher_is_better})
    notes = [
        "Retention (ret.): score / uncompressed score, in %"
        + (f"; for {' and '.join(lower)}, where lower is better, uncompressed score / score." if lower else ".")
    ]
    seeds = scores["seed"].nunique()
    if seeds > 1:
        notes.append(f"Means over {seeds} seeds; in parentheses the standard deviation, in units of the last digit.")
    return notes + [f"{labels.tasks[t].label}: {labels.tasks[t].footnote}" for t in tasks if labels.tasks[t].footnote]


def main_table(scores: DataFrame, labels: Labels) -> str:
    """All methods on all tasks at all ratios. Beyond 4 tasks only retention is shown, as the page is full."""
    notes, tasks, rows = Notes(), list(labels.tasks), comparison(scores, labels)
    protocols = over_seeds(scores).groupby("task")["protocol"].first()
    wide = len(tasks) <= 4
    leading = [Column(lambda r: r.ratio("ratio_reached")), Column(lambda r: r.ratio("model_ratio", spread=True))]
    columns = [c for t in tasks for c in score_columns(labels, t, notes, wide)]
    columns.append(Column(lambda r: number(r.retention(tasks)), lambda r: r.retention(tasks)))
    each = 2 if wide else 1

    def over_columns(texts: Iterable[str]) -> str:
        return " & & " + "".join(rf"& \multicolumn{{{each}}}{{c}}{{{t}}} " for t in texts) + r"& \\"

    rules = "".join(rf"\cmidrule(lr){{{4 + each * i}-{3 + each * (i + 1)}}}" for i in range(len(tasks)))
    names = [f"{metric_head(a.metric_label, a)} & {{ret.}}" if wide else "{ret.}" for a in labels.tasks.values()]
    header = [
        over_columns(stacked(a.label, 8 * each) for a in labels.tasks.values()),
        over_columns(rf"\scriptsize {stacked(a.model, 8 * each)}" for a in labels.tasks.values()),
        over_columns(rf"\scriptsize {stacked(PROTOCOLS.get(p := str(protocols.get(t, '')), p), 9 * each)}" for t in tasks),
        rules,
        rf"Method & {stacked('Ratio reached', 8)} & {stacked('Model ratio', 6)} & {' & '.join(names)} & "
        r"{\shortstack{Mean\\ret.}} \\",
    ]
    general = ["Ratio reached: of the embedding, the smallest over tasks.", *general_notes(scores, labels, tasks)]
    return latex(rows, labels, leading, columns, "\n".join(header), notes) + footnotes(notes, general, rows, labels)


def task_table(scores: DataFrame, labels: Labels, task: str) -> str:
    """All metrics of one task, with n, the interval of retention, and the errors of the matrix."""
    about, notes = labels.tasks[task], Notes()
    scores = scores[scores["task"] == task]
    means = over_seeds(scores)
    metrics = [about.metric, *sorted(set(means["metric"]) - {about.metric})]
    rows = rows_of(means, labels, "metric")

    def of_main(name: str) -> Callable[[Row], float]:
        return lambda r: getattr(r.found[about.metric], name) if about.metric in r.found else math.nan

    def interval(row: Row) -> str:
        low, high = of_main("retention_low")(row), of_main("retention_high")(row)
        return DASH if math.isnan(low) or row.method == "identity" else f"[{number(low)}, {number(high)}]"

    def metric_column(metric: str) -> Column:
        sign = 1 if about.higher_is_better else -1
        # An infeasible ratio has one row, of the main metric: its reason is told there.
        return Column(
            lambda r: (
                dashed(r, metric, notes, lambda f: score(f, about)) if metric in r.found or metric == about.metric else DASH
            ),
            lambda r: sign * r.found[metric].value if metric in r.found else math.nan,
        )

    leading = [Column(lambda r: r.ratio("ratio_reached")), Column(lambda r: r.ratio("parameter_ratio"))]
    columns = [metric_column(m) for m in metrics]
    columns += [Column(lambda r: number(of_main("retention")(r)), of_main("retention")), Column(interval)]
    columns += [Column(lambda r, name=name: number(of_main(name)(r), 3)) for name in ERRORS]  # type: ignore[misc]
    counts = means.groupby("metric")["n"].max()
    names = []
    for metric in metrics:
        short = metric.removeprefix(about.metric).strip("_").replace("_", " ")
        label = about.metric_label if metric == about.metric else about.metrics.get(metric, short)
        names.append(metric_head(label, about, rf"$n{{=}}{counts[metric]}$", arrows=metric == about.metric))
    names += ["{Ret.}", r"{\shortstack{95\,\%\\interval}}", *(rf"{{\shortstack{{{label}}}}}" for label in ERRORS.values())]
    header = rf"Method & {stacked('Ratio reached', 8)} & {stacked('Param. ratio', 7)} & {' & '.join(names)} \\"
    protocol = str(means["protocol"].iloc[0]) if len(means) else ""
    general = [
        f"{about.label}, {about.model or 'model'}, {PROTOCOLS.get(protocol, protocol)}.",
        *general_notes(scores, labels, [task]),
        "Interval: paired bootstrap over examples.",
        "Error and cosine: of the embedding's rows; w.: weighted by token frequency.",
    ]
    return latex(rows, labels, leading, columns, header, notes) + footnotes(notes, general, rows, labels)


def latex_document(tables: Iterable[str]) -> str:
    """A document that shows the tables, one a page: to look at them, and to test that they compile."""
    pages = "\n\\clearpage\n".join(f"\\begin{{table}}\\centering\n{t}\\end{{table}}" for t in tables)
    return (
        "\\documentclass[10pt]{article}\n\\usepackage[a4paper,textwidth=6.3in,textheight=9.7in]{geometry}\n"
        "\\usepackage{booktabs,siunitx}\n\\sisetup{detect-weight=true}\n"
        f"\\begin{{document}}\n{pages}\n\\end{{document}}\n"
    )


def text_table(scores: DataFrame, labels: Labels, width: int = 120) -> str:
    """The main table as plain text, retention with its score where `width` allows, else retention alone."""
    notes, tasks, rows = Notes(), list(labels.tasks), comparison(scores, labels)
    for both in (True, False):
        lines = _text_lines(rows, labels, tasks, notes, both)
        if max(map(len, lines)) <= width:
            break
    general = ["Best within a budget: *. Reconstructions, as the paper's full text was not available: +."]
    general += general_notes(scores, labels, tasks) + [f"^{notes.mark(s)} {s}" for s in notes.sentences]
    return "\n".join(lines + [""] + [w for g in general for w in textwrap.wrap(g, width)]) + "\n"


def _text_lines(rows: list[Row], labels: Labels, tasks: list[str], notes: Notes, both: bool) -> list[str]:
    """Header and rows of the text table, padded. The best of a block carries a star."""
    columns = [c for t in tasks for c in score_columns(labels, t, notes, both)]
    columns.append(Column(lambda r: number(r.retention(tasks)), lambda r: r.retention(tasks)))
    names = [n for t in tasks for n in ([labels.tasks[t].label, "ret."] if both else [labels.tasks[t].label])]
    table = [["", "reached", *(n[:9] for n in names), "mean"]]
    titles = {}
    for title, block in blocks_of(rows):
        titles[len(table)] = title
        strong = [bold(block, c) for c in columns]
        for i, row in enumerate(block):
            cells = [c.text(row) + ("*" if i in s else " ") for c, s in zip(columns, strong)]
            method, sentence = labels.methods[row.method], fixed_size(row, labels)
            label = method.label[:24] + "+" * method.reconstruction + (f"^{notes.mark(sentence)}" if sentence else "")
            table.append([label, row.ratio("ratio_reached"), *cells])
    widths = [max(len(r[i]) for r in table) for i in range(len(table[0]))]
    lines = []
    for i, texts in enumerate(table):
        lines += [titles[i]] if titles.get(i) else []
        lines.append(" ".join(t.ljust(w) if j == 0 else t.rjust(w) for j, (t, w) in enumerate(zip(texts, widths))).rstrip())
    return lines
