"""What both kinds of tables show.

Rows in their order, columns with their best, footnotes, numbers as printed.
"""

import math
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from typing import Any

from pandas import DataFrame

from ...analysis.scores import Labels, TaskLabel, mean_over_seeds
from ...errors import UserError
from ...study.protocols import STUDENTS

DASH = "--"
PROTOCOLS = {
    "zero_shot": "zero-shot",
    "finetune_then_compress": "fine-tuned, then compressed",
    "compress_then_finetune": "compressed, then fine-tuned",
    "compress_then_distil": "compressed, then distilled",
    "distilled": "distilled",
}


@dataclass
class Notes:
    """Footnotes of one table: a letter for each sentence, the same letter for the same sentence."""

    sentences: list[str] = field(default_factory=list)

    def mark(self, sentence: str) -> str:
        """The letter of a sentence: a, b, ..., z, aa, ..."""
        sentence = sentence.rstrip(".") + "."
        if sentence not in self.sentences:
            self.sentences.append(sentence)
        number = self.sentences.index(sentence) + 1
        letters = ""
        while number:
            number, digit = divmod(number - 1, 26)
            letters = chr(ord("a") + digit) + letters
        return letters


@dataclass
class Row:
    """A method at one ratio.

    `found` holds, per column (a task or a metric), the mean over seeds, or a note why not.
    """

    method: str
    asked: float
    block: float
    """The study's ratio under which it is listed; NaN for controls."""
    found: dict[str, Any]
    compresses_layers: bool = False
    """Whether other matrices than the embedding are compressed, which the ratio then is of."""

    def spread(self, column: str) -> tuple[float, float]:
        """Smallest and largest over the columns; NaN where nothing was measured."""
        values = [v for f in self.found.values() if not math.isnan(v := getattr(f, column))]
        return (min(values), max(values)) if values else (math.nan, math.nan)

    @property
    def over_budget(self) -> bool:
        """Whether it is larger than its block allows: shown, but out of the competition."""
        return self.spread("achieved_ratio")[0] < self.block * (1 - 1e-9)

    def ratio(self, column: str, spread: bool = False) -> str:
        """A ratio, the smallest or its range over the columns.

        A dash for controls, which have no size to compare.
        """
        if math.isnan(self.block) and self.method != "identity":
            return DASH
        # Rounded down: 3.96 must not look as if it kept a budget of 4.
        low, high = (
            math.floor(v * 10 + 1e-6) / 10 if math.isfinite(v) else v for v in self.spread(column)
        )
        return span(low, high) if spread else number(low)

    def retention(self, tasks: Iterable[str]) -> float:
        """Mean over the tasks; NaN unless all were measured.

        Since a mean over the easy tasks would flatter.
        """
        values = [self.found[t].retention if t in self.found else math.nan for t in tasks]
        return sum(values) / len(values)


def rows_of(means: DataFrame, labels: Labels, column: str) -> list[Row]:
    """All rows, ordered: identity, blocks by ratio (baselines, papers), other controls.

    `found` is keyed by `column`.
    """
    unknown = sorted(set(means["method"]) - set(labels.methods))
    if unknown:
        raise UserError(
            f"no label for method(s) {', '.join(unknown)}: make scores and labels from the same study"
        )
    order = {m: i for i, m in enumerate(labels.methods)}
    rows: dict[tuple[Any, ...], Row] = {}
    for result in means.itertuples():
        asked: Any = result.target_ratio
        block = math.nan if math.isnan(asked) else labels.block(asked)
        kind = labels.methods[str(result.method)].kind
        whole_model = labels.methods[str(result.method)].compresses_layers
        place = 1 if kind != "control" else 0 if result.method == "identity" else 2
        key = (
            place,
            whole_model,
            -1 if place != 1 else block,
            kind != "baseline",
            order[str(result.method)],
            -1 if place != 1 else asked,
        )
        rows.setdefault(key, Row(str(result.method), asked, block, {}, whole_model)).found[
            str(getattr(result, column))
        ] = result
    return [rows[key] for key in sorted(rows)]


def blocks_of(rows: list[Row]) -> list[tuple[str, list[Row]]]:
    """Titles ("" for the uncompressed row) and the rows below each."""
    blocks: dict[str, list[Row]] = {}
    for row in rows:
        identity = "" if row.method == "identity" else "Controls"
        of = " of more than the embedding" if row.compresses_layers else ""
        blocks.setdefault(
            identity if math.isnan(row.block) else f"Asked {row.block:g}×{of}", []
        ).append(row)
    return list(blocks.items())


def number(value: float, decimals: int = 1, sd: float = math.nan) -> str:
    """For an S column or plain text.

    12.3, 12.3(4) with a standard deviation, a power of ten beyond 9999, or a dash.
    """
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
    low_text = number(low)
    high_text = number(high)
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
    fit = [
        (i, v)
        for i, r in enumerate(rows)
        if not r.over_budget and not math.isnan(v := column.best(r))
    ]
    if not fit or math.isnan(rows[0].block):
        return set()
    shown = {i: column.text(rows[i]).split("(")[0] for i, _ in fit}
    best = shown[max(fit, key=lambda pair: pair[1])[0]]
    return {i for i, text in shown.items() if text == best}


def fixed_size(row: Row, labels: Labels) -> str:
    """What to say of a codec that is asked for at its own ratio rather than the study's.

    "" for all others.
    """
    if math.isnan(row.block) or row.asked in labels.ratios:
        return ""
    over = ": larger than this block allows, so never marked best" if row.over_budget else ""
    return f"Of fixed size, asked for at {row.asked:g}×{over}."


def dashed(row: Row, key: str, notes: Notes, show: Callable[[Any], str]) -> str:
    """What `show` makes of a result; a dash where there is none, with the letter of the reason."""
    result = row.found.get(key)
    if result is None:
        return DASH + "^" + notes.mark("Not part of this study.")
    return (
        f"{DASH}^{notes.mark(result.note or 'No score.')}"
        if math.isnan(result.value)
        else show(result)
    )


def comparison(scores: DataFrame, labels: Labels) -> list[Row]:
    """Rows of the main table: the main metric of every task."""
    means = mean_over_seeds(scores)
    main = {k: t.metric for k, t in labels.tasks.items()}
    return rows_of(means[means["metric"] == means["task"].map(main)], labels, "task")


def averaged(scores: DataFrame, tasks: list[str]) -> list[str]:
    """The tasks over which retention is averaged.

    Without students', if there are others, as the protocols differ.
    """
    protocols = scores.groupby("task")["protocol"].first()
    return [t for t in tasks if protocols.get(t) not in STUDENTS] or tasks


def protocol_notes(scores: DataFrame, tasks: list[str]) -> list[str]:
    """When the models of which tasks were trained and compressed.

    Where the columns do not say it.
    """
    of_task = scores.groupby("task")["protocol"].first()
    by_protocol: dict[str, list[str]] = {}
    for task in tasks:
        by_protocol.setdefault(str(of_task.get(task)), []).append(task)
    listed = [
        f"{PROTOCOLS.get(protocol, protocol)} ({', '.join(of)})"
        for protocol, of in by_protocol.items()
    ]
    return [f"Protocols: {'; '.join(listed)}."]


def average_note(scores: DataFrame, labels: Labels, tasks: list[str]) -> list[str]:
    """What is not in the mean, if something is not."""
    left_out = [labels.tasks[t].label for t in tasks if t not in averaged(scores, tasks)]
    return (
        [f"Not in the mean, as their models are trained after compression: {', '.join(left_out)}."]
        if left_out
        else []
    )


def score_columns(labels: Labels, task: str, notes: Notes, both: bool) -> list[Column]:
    """Score and retention of one task, or retention alone."""
    about = labels.tasks[task]
    sign = 1 if about.higher_is_better else -1

    def found(row: Row, name: str) -> float:
        return getattr(row.found[task], name) if task in row.found else math.nan

    def retained(row: Row) -> str:
        return (
            number(found(row, "retention"))
            if both
            else dashed(row, task, notes, lambda f: number(f.retention))
        )

    retention = Column(retained, lambda r: found(r, "retention"))
    show = Column(
        lambda r: dashed(r, task, notes, lambda f: score(f, about)),
        lambda r: sign * found(r, "value"),
    )
    return [show, retention] if both else [retention]


def general_notes(scores: DataFrame, labels: Labels, tasks: list[str]) -> list[str]:
    """Remarks for all of a table: what retention is, seeds, the tasks' own footnotes."""
    lower = sorted(
        {labels.tasks[t].metric_label for t in tasks if not labels.tasks[t].higher_is_better}
    )
    notes = [
        "Retention (ret.): score / uncompressed score, in %"
        + (
            f"; for {' and '.join(lower)}, where lower is better, uncompressed score / score."
            if lower
            else "."
        )
    ]
    seeds = scores["seed"].nunique()
    if seeds > 1:
        notes.append(
            f"Means over {seeds} seeds; in parentheses the standard deviation, in units of the last digit."
        )
    return notes + [
        f"{labels.tasks[t].label}: {labels.tasks[t].footnote}"
        for t in tasks
        if labels.tasks[t].footnote
    ]
