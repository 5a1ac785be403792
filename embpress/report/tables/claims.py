"""Tables of the papers' claims: the comparisons that test them, and the verdicts."""

import math
from collections.abc import Mapping
from itertools import groupby
from typing import Any

from pandas import DataFrame

from ...analysis.scores import Labels
from ...analysis.verdicts import HOLDS, LEAST_RETENTION, summarize_claim
from ...study.claim_entry import ClaimEntry
from ...study.metric_names import ERRORS
from .table import (
    DASH,
    Cell,
    Column,
    Notes,
    Section,
    Table,
    flat_table,
    interval_cell,
    number,
    number_cell,
    ratio_cell,
    text_columns,
)

Claims = Mapping[str, ClaimEntry]
"""Entries under `claims:`, by name."""

NOTES = [
    "Holds: the 95 % interval of the difference (paired bootstrap over the same test examples, and "
    "over the seeds) lies on the claimed side of 0. Undecided: it covers 0. Does not hold: it lies "
    "on the other side. Errors of the matrix have no test examples and no interval: the numbers "
    "alone decide, however small their difference, and they are counted apart.",
    f"Of no use: neither model keeps {LEAST_RETENTION:g} % of the uncompressed score. Their order "
    "says nothing about models that one would use, and is not counted.",
    "Both methods have the same target ratio. Their achieved ratios, first and second, may be "
    "higher: of the embedding, or of the whole model if layers are compressed too. Difference: "
    "first minus second number. Of many comparisons without a true difference, about one in twenty "
    "is decided by chance.",
    "Evidence: where the claim was read (the paper's abstract, text or code), or inferred from "
    "the method.",
]
HEADER = [
    Column("Target ratio", align="right", short="ratio"),
    Column("Achieved ratios", short="achieved"),
    Column("First"),
    Column("Second"),
    Column("Difference"),
    Column("95 % interval"),
    Column("Verdict", align="left"),
]
KEYS = ("Claim", "Better", "Worse", "Task", "Metric")


def claims_table(rows: DataFrame, claims: Claims, labels: Labels) -> Table:
    """A section for each claim with its verdict, and a row for each comparison and ratio.

    Args:
        rows: what `analysis.verdicts.shown_claims` makes of results/claims.csv.
        claims: of the study.
        labels: of the same study.
    """
    footnotes = Notes()
    sections = []
    for key, claim in claims.items():
        own = rows[rows["claim"] == key]
        title = f"{claim.label or claim.paper}: {claim.text} ({claim.evidence})"
        sections.append(Section(f"{title} → {summarize_claim(own)}", []))
        for _, group in groupby(own.itertuples(), key=_compared):
            results = list(group)
            cells = [_cells(result, labels, footnotes) for result in results]
            sections.append(_comparison(results[0], key, cells, labels))
    notes = [*NOTES, *_seed_note(rows)]
    return Table("claims", "Every comparison", HEADER, sections, notes, footnotes, KEYS, long=True)


def claims_overview(rows: DataFrame, claims: Claims) -> Table:
    """Each claim with one verdict over all its comparisons; arguments as of `claims_table`."""
    cells = [
        [
            Cell(claim.label or claim.paper),
            Cell(claim.text),
            Cell(claim.evidence),
            Cell(summarize_claim(rows[rows["claim"] == key])),
        ]
        for key, claim in claims.items()
    ]
    return flat_table(
        "verdicts",
        "Do the papers' claims hold?",
        text_columns("Paper", "Claim", "Evidence", "Verdict"),
        cells,
        *NOTES[:2],
        NOTES[3],
        *_seed_note(rows),
    )


def _seed_note(rows: DataFrame) -> list[str]:
    """That a study has one seed, over which intervals are not."""
    return ["One seed: intervals are over its test examples."] if rows["seeds"].max() == 1 else []


def _compared(row: Any) -> tuple[str, ...]:
    """What rows share that differ by their ratio alone."""
    return (row.better, row.worse, row.task, row.metric)


def _comparison(row: Any, claim: str, cells: list[list[Cell]], labels: Labels) -> Section:
    """The section of two methods, a task and a metric."""
    better, worse = (labels.methods[method].label for method in (row.better, row.worse))
    task = labels.tasks[row.task]
    if row.metric in ERRORS:
        metric = row.metric.replace("_", " ")
        higher = ERRORS[row.metric]
    else:
        metric = task.label_of(row.metric)
        higher = task.is_higher_better(row.metric)
    title = f"{better} better than {worse}: {task.label}, {metric}\u00a0{'↑' if higher else '↓'}"
    keys = (claim.replace("_", " "), better, worse, task.label, metric)
    return Section(title, cells, tuple(map(Cell, keys)), level=1)


def _cells(row: Any, labels: Labels, footnotes: Notes) -> list[Cell]:
    """Both numbers, their difference with its interval, and the verdict."""
    values = (row.better_value, row.worse_value, row.difference)
    if row.metric in ERRORS:
        scale, decimals = 1, 3
    elif labels.tasks[row.task].is_percent(row.metric):
        scale, decimals = 100, 1
    else:  # a perplexity, which is above 1, or a divergence
        scale, decimals = 1, 2 if max(map(abs, values)) > 1 else 4
    marks = (footnotes.mark(row.note),) if row.note else ()
    ratio = math.nan if row.ratio is None else float(row.ratio)
    return [
        ratio_cell(ratio),
        _achieved(row),
        *(number_cell(scale * value, decimals) for value in values),
        interval_cell(scale * row.low, scale * row.high, decimals),
        Cell(row.verdict, bold=row.verdict == HOLDS, marks=marks),
    ]


def _achieved(row: Any) -> Cell:
    """The achieved ratios of both methods; a dash where one has no result."""
    ratios = (row.better_achieved_ratio, row.worse_achieved_ratio)
    return Cell(DASH if any(map(math.isnan, ratios)) else ", ".join(map(number, ratios)))
