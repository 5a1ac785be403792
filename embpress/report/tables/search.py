"""Table of the search for fine-tuning's settings: how each candidate scored."""

from collections.abc import Mapping
from typing import Any

from pandas import DataFrame

from .table import Cell, Column, Section, Table, number_cell

NOTES = [
    "Each candidate was trained once, with the study's first seed, on the training examples "
    "without "
    "the held-out ones, on which it was scored. The best (of equal ones the first) was then "
    "trained "
    "on all training examples with every seed. No test example was read.",
]
HEADER = [
    Column("Settings", align="left"),
    Column("Score"),
    Column("Choice", align="left", formats=("html",)),
]


def search_table(candidates: DataFrame, titles: Mapping[str, str]) -> Table:
    """A section for each task, a row for each candidate in the order of the grid.

    Args:
        candidates: results/search.csv, of `embpress.study.search.rows`.
        titles: of each task.
    """
    sections = []
    for task, title in titles.items():
        own = candidates[candidates["task"] == task]
        if own.empty:
            continue
        first: Any = next(own.itertuples())
        metric = first.metric.replace("_", " ")
        n = first.held_out + first.trained_on
        keys = (
            Cell(title),
            Cell(metric),
            number_cell(float(first.trained_on), 0),
            number_cell(float(first.held_out), 0),
        )
        title = f"{title}: {metric} on {first.held_out} of {n} examples"
        sections.append(Section(title, [_cells(row) for row in own.itertuples()], keys))
    return Table(
        "search",
        "Search for settings of fine-tuning",
        HEADER,
        sections,
        NOTES,
        keys=("Task", "Metric", "Trained on", "Held out"),
        bold="the chosen candidate",
        long=True,
    )


def _cells(row: Any) -> list[Cell]:
    """Settings and score; scores of tasks that are trained for are shown times 100."""
    settings = row.candidate.replace("_", " ").replace("+", ", ")
    score = number_cell(100 * row.score, 2)
    return [
        Cell(settings, bold=bool(row.chosen)),
        Cell(score.text, score.sort, bool(row.chosen)),
        Cell("chosen" if row.chosen else ""),
    ]
