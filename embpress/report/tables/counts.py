"""What token counts give a method: its retention without and with weights of rows."""

import math

from pandas import DataFrame

from ...analysis.scores import Labels
from .rows import Row, average_note, averaged_tasks, compared_rows, retention_note
from .table import Cell, Column, Section, Table, number_cell, ratio_cell

NOTE = "Without and with: mean retention in %; gain: the difference in points, for each task too."


def counts_table(scores: DataFrame, labels: Labels) -> Table:
    """Variants that weight rows by counts, beside the same fit with equal weights.

    Args:
        scores: the table of scores.
        labels: of the same study; `uniform` of a method names the variant with equal weights.
    """
    tasks = list(labels.tasks)
    averaged = averaged_tasks(scores, tasks)
    rows = {(row.method, row.target): row for row in compared_rows(scores, labels)}
    by_ratio: dict[float, list[list[Cell]]] = {}
    for (method, target), row in rows.items():
        without = rows.get((labels.methods[method].uniform, target))
        if without is not None:
            cells = _cells(row, without, tasks, averaged)
            by_ratio.setdefault(row.block, []).append([Cell(labels.methods[method].label), *cells])
    sections = [
        Section(f"Target ratio {ratio:g}×", lines, (ratio_cell(ratio),))
        for ratio, lines in sorted(by_ratio.items())
    ]
    heads = ["Without", "With", "Gain", *(f"{labels.tasks[task].label}\ngain" for task in tasks)]
    return Table(
        "counts",
        "Gain of token counts",
        [Column("Method", align="left"), *map(Column, heads)],
        sections,
        [NOTE, retention_note(labels, tasks), *average_note(scores, labels, tasks)],
        keys=("Target ratio",),
    )


def _cells(row: Row, without: Row, tasks: list[str], averaged: list[str]) -> list[Cell]:
    """Mean retention without and with counts, their difference, and that of each task."""
    means = [side.mean_retention(averaged) for side in (without, row)]
    gains = [
        row.value(task, "retention") - without.value(task, "retention")
        if task in row.results and task in without.results
        else math.nan
        for task in tasks
    ]
    return [number_cell(value) for value in (*means, means[1] - means[0], *gains)]
