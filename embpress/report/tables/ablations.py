"""Table of the variants of one method."""

import math
from dataclasses import replace
from typing import Any

from pandas import DataFrame

from ...analysis.scores import Labels
from .rows import score_text
from .table import (
    DASH,
    Cell,
    Column,
    Notes,
    Section,
    Table,
    interval_cell,
    number_cell,
    ratio_cell,
)

NOTES = [
    "Ret.: retention, as in the main table.",
    "W. error: relative error of the matrix, weighted by token counts.",
]
HEADER = [
    Column("Variant", align="left"),
    Column("Achieved ratio", width=8),
    Column("Score"),
    Column("Ret. (%)"),
    Column("95 % interval", align="right"),
    Column("w. error"),
]


def ablations_table(variants: DataFrame, labels: Labels) -> Table:
    """A section for each method, task and target ratio; a row for each variant.

    Args:
        variants: of `compare_variants`.
        labels: of the same study.
    """
    footnotes = Notes()
    sections = []
    for (base, task, ratio), group in variants.groupby(
        ["base", "task", "target_ratio"], sort=False
    ):
        about = labels.tasks[str(task)]
        name = labels.methods[str(base)].label if base in labels.methods else str(base)
        best = _best(group)
        rows = []
        for i, row in enumerate(group.itertuples()):
            result: Any = row
            score = DASH if math.isnan(result.value) else score_text(result, about)
            marks = (footnotes.mark(result.note),) if result.note else ()
            rows.append(
                [
                    Cell(labels.methods[result.method].label, marks=marks),
                    number_cell(result.achieved_ratio),
                    Cell(score, None if score == DASH else result.value),
                    replace(number_cell(result.retention), bold=i in best),
                    interval_cell(result.retention_low, result.retention_high),
                    number_cell(result.weighted_relative_error, 3),
                ]
            )
        title = f"{name}: {about.label}, {about.metric_label}, target ratio {ratio:g}×"
        keys = (Cell(name), Cell(about.label), ratio_cell(float(ratio)))  # type: ignore[arg-type]
        sections.append(Section(title, rows, keys))
    return Table(
        "ablations",
        "Variants of one method",
        HEADER,
        sections,
        NOTES,
        footnotes,
        ("Method", "Task", "Target ratio"),
        "the highest retention of a group, and all whose interval reaches it",
        long=True,
    )


def _best(group: DataFrame) -> set[int]:
    """Positions of the highest retention and of those whose interval reaches it."""
    retention = group["retention"].to_numpy()
    if not (known := [v for v in retention if not math.isnan(v)]):
        return set()
    return {
        i
        for i, (v, high) in enumerate(zip(retention, group["retention_high"]))
        if v == max(known) or high >= max(known)
    }
