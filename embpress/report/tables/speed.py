"""Table of the latency of lookups."""

import math
from typing import Any

from pandas import DataFrame

from ...analysis.scores import Labels
from .table import Cell, Column, Section, Table, interval_cell, number_cell, ratio_cell

NOTES = [
    "Median time of a lookup of so many rows in one thread, in µs, with quartiles where there is "
    "room. "
    "× dense: relative to a dense lookup of the same rows in the same run.",
    "× dense, cached and decoded: of tokens drawn by their counts, in a model that keeps its most "
    "frequent rows decoded, and in one that keeps all rows decoded.",
    "MB: a million bytes of stored tensors. Times depend on the machine and differ from run to "
    "run.",
]

WAYS = ("cached", "decoded")
"""Columns of the times of other ways to decode."""


def speed_table(speed: DataFrame, labels: Labels) -> Table:
    """A section for each checkpoint and target ratio; a row for each method.

    Args:
        speed: results/speed.csv.
        labels: of the same study.
    """
    counts = sorted(set(speed["rows"]))
    columns = [Column("Method", align="left"), Column("MB")]
    for n in counts:
        group = (f"{n:,} row{'s' * (n > 1)}",)
        columns += [
            Column("µs", group),
            Column("quartiles", group, detail=-1),
            Column("× dense", group),
        ]
        if n == counts[-1]:
            columns += [Column(f"× dense, {way}", group) for way in WAYS]
    sections = []
    for model, of_model in speed.groupby("model", sort=False):
        for ratio, block in _blocks(of_model, labels):
            title = str(model) + ("" if math.isnan(ratio) else f", target ratio {ratio:g}×")
            groups = block.groupby(["method", "target_ratio"], sort=False, dropna=False)
            rows = [
                [Cell(labels.methods[str(method)].label), *_cells(own, counts)]
                for (method, _), own in groups
            ]
            sections.append(Section(title, rows, (Cell(str(model)), ratio_cell(ratio))))
    return Table(
        "speed",
        "Latency of lookups",
        columns,
        sections,
        NOTES,
        keys=("Model", "Target ratio"),
        long=True,
        details="hidden",
    )


def _blocks(speed: DataFrame, labels: Labels) -> list[tuple[float, DataFrame]]:
    """The dense matrix (NaN), then the methods at each ratio of the study in its order."""
    order = {method: i for i, method in enumerate(labels.methods)}
    speed = speed.sort_values("method", key=lambda column: column.map(order), kind="stable")
    target = speed["target_ratio"]
    blocks = target.map(lambda ratio: ratio if math.isnan(ratio) else labels.block(ratio))
    dense = [(math.nan, speed[blocks.isna()])] if blocks.isna().any() else []
    return dense + [(ratio, speed[blocks == ratio]) for ratio in sorted(set(blocks.dropna()))]


def _cells(own: DataFrame, counts: list[int]) -> list[Cell]:
    """Megabytes; time, quartiles and time relative to dense for each number of rows."""
    times: dict[Any, Any] = {row.rows: row for row in own.itertuples()}
    cells = [number_cell(float(own["bytes"].iloc[0]) / 1e6, 2)]
    for n in counts:
        time = times[n]
        cells += [
            number_cell(time.microseconds, 0),
            interval_cell(time.low, time.high),
            number_cell(time.microseconds / time.dense),
        ]
    return cells + [number_cell(float(getattr(times[counts[-1]], way))) for way in WAYS]
