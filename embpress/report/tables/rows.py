"""Rows of methods: in which order they are listed, and the best among them."""

import math
from collections.abc import Callable, Iterable
from dataclasses import dataclass, replace
from typing import Any

from pandas import DataFrame

from ...analysis.scores import Labels, TaskLabel, mean_over_seeds
from ...errors import UserError
from ...study.task_entry import STUDENT_PROTOCOLS
from .table import (
    DAGGER,
    DASH,
    Cell,
    Column,
    Notes,
    Section,
    dash_cell,
    number,
    number_cell,
    ratio_cell,
    span,
)

PROTOCOLS = {
    "zero_shot": "zero-shot",
    "finetune_then_compress": "fine-tuned, then compressed",
    "compress_then_finetune": "compressed, then fine-tuned",
    "compress_then_distil": "compressed, then distilled",
    "distilled": "distilled",
}
FP32_BITS = 32
BF16_BITS = 16
BEST = "the best at a ratio, among methods that reach it"
NOT_IN_STUDY = "Not part of this study."


@dataclass
class Row:
    """A method at one ratio, with its results by task or by metric."""

    method: str
    target: float
    """The target ratio; NaN for controls."""
    block: float
    """The study's ratio under which it is listed; NaN for controls."""
    results: dict[str, Any]
    """Means over seeds, as `mean_over_seeds` has them; a note where there is no value."""
    compresses_layers: bool = False
    """Whether matrices besides the embedding are compressed, which the ratio then covers."""

    def value(self, key: str, column: str) -> float:
        """A column of one result; NaN where there is none."""
        return getattr(self.results[key], column) if key in self.results else math.nan

    def spread(self, column: str) -> tuple[float, float]:
        """Smallest and largest value over the results; NaN where there is none."""
        values = [v for key in self.results if not math.isnan(v := self.value(key, column))]
        return (min(values), max(values)) if values else (math.nan, math.nan)

    @property
    def over_budget(self) -> bool:
        """Whether it is larger than its block allows: listed, but never marked as best."""
        return self.spread("achieved_ratio")[0] < self.block * (1 - 1e-9)

    def ratio_cell(self, column: str, spread: bool = False) -> Cell:
        """The smallest ratio over the results, or their range; a dash for controls."""
        if math.isnan(self.block) and self.method != "identity":
            return Cell(DASH)
        # Rounded down: 3.96 must not look as if it reached a ratio of 4.
        low, high = (
            math.floor(v * 10 + 1e-6) / 10 if math.isfinite(v) else v for v in self.spread(column)
        )
        return Cell(span(low, high) if spread else number(low), None if math.isnan(low) else low)

    def mean_retention(self, tasks: Iterable[str]) -> float:
        """Mean retention over tasks; NaN unless all have a value.

        A mean over the easy tasks alone would be too high.
        """
        values = [self.value(task, "retention") for task in tasks]
        return sum(values) / len(values)


@dataclass(frozen=True)
class RowColumn:
    """A column, its cell in a row, and the value by which the best is chosen (higher is better)."""

    column: Column
    cell: Callable[[Row], Cell]
    best: Callable[[Row], float] | None = None


def rows_of(means: DataFrame, labels: Labels, column: str) -> list[Row]:
    """All rows in order: the uncompressed model, ratios with baselines before papers, controls.

    Args:
        means: of `mean_over_seeds`.
        labels: of the same study.
        column: whose values are the keys of a row's results.

    Raises:
        UserError: if a method has no label.
    """
    unknown = sorted(set(means["method"]) - set(labels.methods))
    if unknown:
        raise UserError(
            f"no label for method(s) {', '.join(unknown)}: use scores and labels of the same study"
        )
    order = {method: i for i, method in enumerate(labels.methods)}
    rows: dict[tuple[float, ...], Row] = {}
    for result in means.itertuples():
        method = str(result.method)
        target: Any = result.target_ratio
        block = math.nan if math.isnan(target) else labels.block(target)
        about = labels.methods[method]
        row = Row(method, target, block, {}, about.compresses_layers)
        key: tuple[float, ...]
        if about.kind == "control":
            place = 0 if method == "identity" else 2
            key = (place, about.compresses_layers, -1, False, order[method], -1)
        else:
            is_paper = about.kind != "baseline"
            key = (1, about.compresses_layers, block, is_paper, order[method], target)
        rows.setdefault(key, row).results[str(getattr(result, column))] = result
    return [rows[key] for key in sorted(rows)]


def compared_rows(scores: DataFrame, labels: Labels) -> list[Row]:
    """Rows with the main metric of every task."""
    means = mean_over_seeds(scores)
    main = {k: t.metric for k, t in labels.tasks.items()}
    return rows_of(means[means["metric"] == means["task"].map(main)], labels, "task")


def blocks_of(rows: list[Row]) -> list[tuple[str, list[Row]]]:
    """Titles ("" for the uncompressed model) and the rows below each."""
    blocks: dict[str, list[Row]] = {}
    for row in rows:
        title = "" if row.method == "identity" else "Controls"
        if not math.isnan(row.block):
            more = ", layers compressed too" if row.compresses_layers else ""
            title = f"Target ratio {row.block:g}×{more}: {bits_text(row.block)}"
        blocks.setdefault(title, []).append(row)
    return list(blocks.items())


def sections_of(
    rows: list[Row], columns: list[RowColumn], labels: Labels, notes: Notes
) -> list[Section]:
    """A section for each ratio with its best values in bold, keyed by the ratio."""
    sections = []
    for title, block in blocks_of(rows):
        # Row by row, so that the letters of footnotes come in reading order.
        cells = [
            [label_cell(row, labels, notes), *(column.cell(row) for column in columns)]
            for row in block
        ]
        for j, column in enumerate(columns, start=1):
            for i in best_rows(block, [line[j].text for line in cells], column):
                cells[i][j] = replace(cells[i][j], bold=True)
        sections.append(Section(title, cells, (ratio_cell(block[0].block),)))
    return sections


def best_rows(rows: list[Row], texts: list[str], column: RowColumn) -> set[int]:
    """Positions of the rows of a block with its best value; ties as printed share it."""
    if column.best is None or math.isnan(rows[0].block):
        return set()
    values = {
        i: value
        for i, row in enumerate(rows)
        if not row.over_budget and not math.isnan(value := column.best(row))
    }
    if not values:
        return set()
    shown = {i: texts[i].split("(")[0] for i in values}
    best = shown[max(values, key=lambda i: values[i])]
    return {i for i, text in shown.items() if text == best}


def label_cell(row: Row, labels: Labels, notes: Notes) -> Cell:
    """The method's label with its dagger and, for a codec of fixed size, a footnote."""
    method = labels.methods[row.method]
    sentence = fixed_size_note(row, labels)
    marks = [DAGGER] * method.reconstruction + ([notes.mark(sentence)] if sentence else [])
    return Cell(method.label, marks=tuple(marks))


def fixed_size_note(row: Row, labels: Labels) -> str:
    """The footnote of a codec that has a ratio of its own instead of the study's; "" for others."""
    if math.isnan(row.block) or row.target in labels.ratios:
        return ""
    over = "; larger than this target ratio allows, so never marked as best"
    return f"Fixed size, target ratio {row.target:g}×{over if row.over_budget else ''}."


def score_text(result: Any, task: TaskLabel, metric: str = "") -> str:
    """A score, of the main metric by default, with its standard deviation over seeds if there are
    several.
    """
    metric = metric or task.metric
    is_percent = task.is_percent(metric)
    scale = 100 if is_percent else 1
    decimals = 1 if is_percent or metric == task.metric else 3
    return number(result.value * scale, decimals, result.value_sd * scale)


def score_cell(row: Row, key: str, task: TaskLabel, notes: Notes) -> Cell:
    """A score, or a dash with the reason."""
    missing = missing_cell(row, key, notes)
    if missing:
        return missing
    result = row.results[key]
    return Cell(score_text(result, task, result.metric), float(result.value))


def missing_cell(row: Row, key: str, notes: Notes) -> Cell | None:
    """A dash with the reason where a row has no value; None where it has one."""
    result = row.results.get(key)
    if result is None:
        return dash_cell(NOT_IN_STUDY, notes)
    return dash_cell(result.note or "No score.", notes) if math.isnan(result.value) else None


def achieved_column() -> RowColumn:
    """The smallest achieved ratio of the embedding over all results."""
    column = Column("Achieved ratio", align="right", short="achieved", width=8)
    return RowColumn(column, lambda row: row.ratio_cell("achieved_ratio"))


def bits_text(ratio: float) -> str:
    """What a ratio to fp32 is in bits a weight, and against bf16."""
    return (
        f"{FP32_BITS / ratio:.2g} bits a weight, {ratio * BF16_BITS / FP32_BITS:.3g}× against bf16"
    )


def bits_columns() -> list[RowColumn]:
    """Bits a weight at the smallest achieved ratio, and the ratio to bf16; on the page alone."""

    def cell(row: Row, to_bf16: bool) -> Cell:
        if math.isnan(row.block) and row.method != "identity":
            return Cell(DASH)
        ratio = row.spread("achieved_ratio")[0]
        return number_cell(ratio * BF16_BITS / FP32_BITS if to_bf16 else FP32_BITS / ratio, 2)

    heads = {"Bits a weight": False, "Against bf16": True}
    return [
        RowColumn(
            Column(head, formats=("html",)),
            lambda row, to_bf16=to_bf16: cell(row, to_bf16),  # type: ignore[misc]
        )
        for head, to_bf16 in heads.items()
    ]


def task_columns(
    labels: Labels, task: str, group: tuple[str, ...], notes: Notes
) -> list[RowColumn]:
    """Score and retention of one task; the score is a detail of the retention."""
    about = labels.tasks[task]
    sign = 1 if about.higher_is_better else -1
    score = Column(metric_head(about), group, short=task[:10], detail=1)
    retention = Column("ret.", group, short="ret.")
    return [
        RowColumn(
            score,
            lambda row: score_cell(row, task, about, notes),
            lambda row: sign * row.value(task, "value"),
        ),
        RowColumn(
            retention,
            lambda row: missing_cell(row, task, notes) or number_cell(row.value(task, "retention")),
            lambda row: row.value(task, "retention"),
        ),
    ]


def metric_head(task: TaskLabel, label: str = "") -> str:
    """A metric's label (the main metric's by default) with an arrow towards better values."""
    return f"{label or task.metric_label}\u00a0{'↑' if task.higher_is_better else '↓'}"


def averaged_tasks(scores: DataFrame, tasks: list[str]) -> list[str]:
    """The tasks over which retention is averaged: students' tasks only where there are no others.

    Protocols differ in what an error of the matrix costs.
    """
    protocols = scores.groupby("task")["protocol"].first()
    return [t for t in tasks if protocols.get(t) not in STUDENT_PROTOCOLS] or tasks


def bounded_tasks(labels: Labels, tasks: list[str]) -> list[str]:
    """Those of some tasks whose scores have an upper bound: not perplexity, whose retention falls
    exponentially with the nats lost.
    """
    return [task for task in tasks if labels.tasks[task].percent]


def average_note(scores: DataFrame, labels: Labels, tasks: list[str]) -> list[str]:
    """The tasks that are not in the mean, if any."""
    left_out = [labels.tasks[t].label for t in tasks if t not in averaged_tasks(scores, tasks)]
    sentence = "Not in the mean, as their models are trained after compression: "
    return [sentence + ", ".join(left_out) + "."] if left_out else []


def protocol_note(scores: DataFrame, labels: Labels) -> str:
    """When the models of which tasks were trained and compressed."""
    protocols = scores.groupby("task")["protocol"].first()
    by_protocol: dict[str, list[str]] = {}
    for task, about in labels.tasks.items():
        by_protocol.setdefault(str(protocols.get(task)), []).append(about.label)
    listed = [f"{PROTOCOLS.get(p, p)} ({', '.join(tasks)})" for p, tasks in by_protocol.items()]
    return f"Protocols: {'; '.join(listed)}."


def retention_note(labels: Labels, tasks: list[str]) -> str:
    """What retention is."""
    lower = sorted(
        {labels.tasks[t].metric_label for t in tasks if not labels.tasks[t].higher_is_better}
    )
    inverted = f"; for {' and '.join(lower)}, where lower is better, uncompressed score / score"
    return f"Retention (ret.): score / uncompressed score, in %{inverted if lower else ''}."


def interval_note(scores: DataFrame, examples: str = "test examples") -> str:
    """What the intervals are over.

    Args:
        scores: with the seeds that a table shows.
        examples: what is resampled.
    """
    if scores["seed"].nunique() == 1:
        return f"Interval: paired bootstrap over {examples}, of one seed."
    return f"Interval: paired bootstrap over seeds and {examples}, for the mean over seeds."


def seed_and_task_notes(scores: DataFrame, labels: Labels, tasks: list[str]) -> list[str]:
    """The number of seeds, what numbers in parentheses are, and the tasks' own footnotes."""
    seeds = scores["seed"].nunique()
    notes = [f"{labels.tasks[t].label}: {f}" for t in tasks if (f := labels.tasks[t].footnote)]
    if seeds == 1:
        return ["One seed.", *notes]
    deviation = "the standard deviation is in parentheses, in units of the last digit"
    once = "what depends on no seed is measured once and stands for all of them"
    return [f"Means over {seeds} seeds; {deviation}; {once}.", *notes]
