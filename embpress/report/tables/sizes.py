"""Tables of sizes: a checkpoint's other weights, and the stored tensors of compressed matrices."""

import math
from dataclasses import replace
from pathlib import Path
from typing import Any

import pandas
from pandas import DataFrame

from ...analysis.scores import Labels
from .rows import Row, blocks_of, compared_rows, label_cell
from .table import (
    DASH,
    Cell,
    Column,
    Notes,
    Section,
    Table,
    flat_table,
    number,
    number_cell,
    ratio_cell,
    text_columns,
)

LEAST = 0.0005
"""Share of all bits below which a tensor is not listed."""
MEGABYTE = 8 * 10**6
"""Bits in 10^6 bytes."""
NOTES = [
    "MB: a million bytes, as fp32. Weights below 0.05 % of a model are left out. At most: the "
    "ratio of the "
    "whole model if its embedding took no space. A tied output head is the same matrix as the "
    "embedding.",
    "Achieved ratio: of the embedding, the smallest over checkpoints. Rows kept: share of the "
    "matrix's "
    "rows that are stored unchanged. Stored: tensors of the artefact with their share of its "
    "bits, means "
    "over checkpoints and seeds; U8 contains packed bits.",
]


def read_sizes(path: Path) -> DataFrame:
    """Read results/sizes.csv; the method of a checkpoint's own weights is "".

    Only numbers may be missing.
    """
    empty = {column: [""] for column in ("target_ratio", "rows_kept")}
    return pandas.read_csv(path, keep_default_na=False, na_values=empty, encoding="utf-8")


def weights_table(sizes: DataFrame) -> Table:
    """The weights of each checkpoint, the embedding first, and why the others are not compressed.

    Args:
        sizes: results/sizes.csv.
    """
    sections = []
    for model, parts in sizes[sizes["method"] == ""].groupby("model", sort=False):
        total = parts["bits"].sum()
        most = number(total / (total - parts["bits"].iloc[0]))
        rows = []
        for row in parts[parts["bits"] >= LEAST * total].itertuples():
            part: Any = row
            shares = (part.bits / MEGABYTE, 100 * part.bits / total)
            rows.append([Cell(part.part), *map(number_cell, shares), Cell(part.why)])
        sections.append(Section(f"{model}: at most {most}× smaller", rows))
    columns = [
        Column("Weights", align="left"),
        Column("MB", align="right"),
        Column("% of model", align="right", width=12),
        Column("Why", align="left"),
    ]
    return Table("weights", "Weights of the checkpoints", columns, sections, long=True)


def stored_table(sizes: DataFrame, scores: DataFrame, labels: Labels) -> Table:
    """The achieved ratio and the shares of the stored tensors of each method and ratio.

    Args:
        sizes: results/sizes.csv.
        scores: the table of scores, for achieved ratios and the reasons for those not reached.
        labels: of the same study.
    """
    notes = Notes()
    rows = [
        row
        for row in compared_rows(scores, labels)
        if not row.compresses_layers and labels.methods[row.method].kind != "control"
    ]
    stored = sizes[sizes["method"] != ""]
    sections = [
        Section(
            title,
            [[label_cell(row, labels, notes), *_stored_cells(row, stored, notes)] for row in block],
        )
        for title, block in blocks_of(rows)
    ]
    columns = [
        Column("Method", align="left"),
        Column("Achieved ratio", align="right"),
        Column("% rows kept", align="right", width=12),
        Column("Stored, % of bits", align="left", width=20, inches=3.6),
    ]
    return Table("stored", "Stored tensors", columns, sections, NOTES, notes, long=True)


def tensors_table(sizes: DataFrame, labels: Labels) -> Table:
    """Every stored tensor and every group of a checkpoint's weights, means over seeds."""
    keys = ["model", "method", "target_ratio", "part", "dtype", "why"]
    means = sizes.groupby(keys, sort=False, dropna=False)["bits"].mean().reset_index()
    rows = []
    for row in means.itertuples():
        tensor: Any = row
        method = labels.methods[tensor.method].label if tensor.method else "the checkpoint itself"
        rows.append(
            [
                Cell(tensor.model),
                Cell(method),
                ratio_cell(tensor.target_ratio),
                Cell(tensor.part),
                Cell(tensor.dtype),
                number_cell(tensor.bits / MEGABYTE, 3),
                Cell(tensor.why),
            ]
        )
    columns = [
        *text_columns("Checkpoint", "Method"),
        Column("Target ratio"),
        *text_columns("Part", "Type"),
        Column("MB"),
        *text_columns("Why"),
    ]
    return flat_table(
        "sizes",
        "Sizes of all tensors",
        columns,
        rows,
        "MB: a million bytes, means over seeds. Of a checkpoint itself: the weights that are not "
        "compressed, "
        "and why.",
    )


def _stored_cells(row: Row, stored: DataFrame, notes: Notes) -> list[Cell]:
    """Achieved ratio, share of rows kept, and shares of the tensors; else the reason for none."""
    achieved = row.ratio_cell("achieved_ratio")
    if achieved.text == DASH:
        reasons = dict.fromkeys(r.note for r in row.results.values() if r.note)
        marks = tuple(notes.mark(reason) for reason in reasons)
        return [Cell(DASH, marks=marks), Cell(DASH), Cell("not reached")]
    own = stored[(stored["method"] == row.method) & (stored["target_ratio"] == row.target)]
    kept = (own["rows_kept"] / own["rows"]).mean()
    shares = _shares(own)
    if row.over_budget and shares:
        name, _, share = shares[0]
        low = row.spread("achieved_ratio")[0]
        note = (
            f"Below its target ratio: {name} alone would achieve {low / share:.2f}×, "
            f"all stored tensors achieve {low:.2f}×"
        )
        achieved = replace(achieved, marks=(notes.mark(note),))
    listed = ", ".join(f"{name} ({dtype}) {100 * share:.1f}" for name, dtype, share in shares)
    return [achieved, number_cell(math.nan if pandas.isna(kept) else 100 * kept), Cell(listed)]


def _shares(own: DataFrame) -> list[tuple[str, str, float]]:
    """Name, type and mean share of the bits of each tensor of some artefacts, the largest first."""
    total = own.groupby(["model", "seed"])["bits"].transform("sum")
    n_artefacts = max(1, len(own.drop_duplicates(["model", "seed"])))
    shares = (own["bits"] / total).groupby([own["part"], own["dtype"]]).sum() / n_artefacts
    ordered = shares.sort_values(ascending=False)
    return [
        (str(name), str(dtype), float(share))
        for (name, dtype), share in ordered.items()  # type: ignore[misc]
        if share >= LEAST
    ]
