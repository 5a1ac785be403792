"""Tables of one task each: retention by method and protocol."""

import math
from typing import Any

import numpy as np
from pandas import DataFrame

from ...analysis.protocols import protocol_heads
from ...analysis.scores import Labels
from .rows import PROTOCOLS, bits_text
from .table import (
    Cell,
    Column,
    Notes,
    Section,
    Table,
    dash_cell,
    interval_cell,
    number_cell,
    ratio_cell,
)

SHORT = {
    "fine-tuned, then compressed": "tuned first",
    "compressed, then fine-tuned": "tuned last",
    "compressed, then distilled": "distilled",
}
"""Heads in the terminal, which shows no heads above them."""
NOT_RUN = "Not run by this protocol."


def protocol_tables(compared: DataFrame, labels: Labels) -> list[Table]:
    """A table for each task with several protocols, with two columns for each protocol.

    Args:
        compared: of `compare_protocols`.
        labels: of the same study.
    """
    families = compared.groupby("family", sort=False)
    return [_table(str(family), rows, labels) for family, rows in families]


def _table(family: str, rows: DataFrame, labels: Labels) -> Table:
    """The table of one task."""
    about = labels.tasks[family]
    notes = Notes()
    heads = protocol_heads(rows, labels, PROTOCOLS)
    columns = [Column("Method", align="left"), Column("Achieved ratio", align="right", width=8)]
    for head in heads.values():
        columns.append(Column("ret.", (head,), short=SHORT.get(head, head)))
        columns.append(Column("95 % interval", (head,), short="95 % interval", width=8))
    sections = []
    for ratio, block in rows.groupby("block", sort=False):
        target = float(ratio)  # type: ignore[arg-type]
        cells = []
        for (method, _), own in block.groupby(["method", "target_ratio"], sort=False):
            by_task = {str(row.task): row for row in own.itertuples()}
            line = [
                Cell(labels.methods[str(method)].label),
                number_cell(np.floor(10 * own["achieved_ratio"].min() + 1e-6) / 10),
            ]
            for task in heads:
                line += _pair(by_task.get(task), notes)
            cells.append(line)
        title = f"Target ratio {target:g}×: {bits_text(target)}"
        sections.append(Section(title, cells, (ratio_cell(target),)))
    seeds = int(rows["seeds"].max())
    over = "test examples, of one seed" if seeds == 1 else f"{seeds} seeds and test examples"
    return Table(
        f"protocols_{family}",
        f"Protocols side by side: {about.label}",
        columns,
        sections,
        [
            f"{about.label}, {about.metric_label}, {about.model}. Retention (ret.): score / "
            "score of the uncompressed, fine-tuned model, in %.",
            f"Interval: paired bootstrap over {over}.",
        ],
        notes,
        ("Target ratio",),
    )


def _pair(result: Any, notes: Notes) -> list[Cell]:
    """Retention and interval of one protocol, or dashes with the reason."""
    if result is None:
        return [dash_cell(NOT_RUN, notes), Cell("")]
    if math.isnan(result.value):
        return [dash_cell(result.note or "No score.", notes), Cell("")]
    interval = interval_cell(result.retention_low, result.retention_high)
    return [number_cell(result.retention), interval]
