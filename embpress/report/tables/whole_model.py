"""Table of models whose layers are compressed too: sizes and operations by kind of matrix."""

import math
from pathlib import Path

import pandas
from pandas import DataFrame

from ...analysis.scores import Labels
from ...study.layer_kinds import KEPT, KINDS, OTHER
from .rows import Row, compared_rows, missing_cell, score_text
from .table import (
    DASH,
    Cell,
    Column,
    Notes,
    Section,
    Table,
    number_cell,
    ratio_cell,
)

MEGABYTE = 8 * 10**6
"""Bits in 10^6 bytes."""
MILLION = 10**6
BILLION = 10**9
NOTES = [
    "Ratio: dense fp32 bits / stored bits of the whole model, the smallest over seeds; all other "
    "numbers "
    "are means over seeds. Ret.: score / uncompressed score, in %.",
    "Parameters: stored floats in millions; a dash where integer codes represent the values. "
    "Operations: billions of floating-point operations of the products with the compressed "
    "matrices "
    "for 128 tokens. MB: stored megabytes (a million bytes) of each kind of matrix.",
]


def read_modules(path: Path) -> DataFrame:
    """Read results/modules.csv."""
    return pandas.read_csv(path, encoding="utf-8")


def whole_model_table(modules: DataFrame, scores: DataFrame, labels: Labels) -> Table:
    """A section for each task with variants that compress layers.

    Args:
        modules: results/modules.csv.
        scores: the table of scores.
        labels: of the same study.
    """
    notes = Notes()
    kinds = [kind for kind in (*KINDS, OTHER, KEPT) if kind in set(modules["kind"])]
    columns = [
        Column("Method", align="left"),
        Column("target ratio", short="target", width=6),
        Column("ratio", width=6),
        Column("ret.", width=6),
        Column("score", width=6),
        Column("par. M", width=6),
        Column("oper. G", width=6),
        *(Column(f"{kind.replace('_', ' ')} MB", width=6) for kind in kinds),
    ]
    rows = compared_rows(scores, labels)
    sections = []
    for task, about in labels.tasks.items():
        own = [row for row in rows if task in row.results and row.compresses_layers]
        if not own:
            continue
        of_model = modules[modules["model"] == (about.checkpoint or about.model)]
        (identity,) = (row for row in rows if row.method == "identity" and task in row.results)
        lines = [_dense(of_model, kinds, _score(identity, task, labels))] if len(of_model) else []
        of_task = scores[scores["task"] == task]
        for row in own:
            if missing := missing_cell(row, task, notes):
                cells = [Cell(DASH), missing, *[Cell(DASH)] * (len(kinds) + 3)]
            else:
                retention = number_cell(row.value(task, "retention"))
                kept = [retention, _score(row, task, labels)]
                cells = _variant(row, of_model, of_task, kinds, kept)
            label = Cell(labels.methods[row.method].label)
            lines.append([label, ratio_cell(row.target), *cells])
        title = f"{about.label}, {about.metric_label}, {about.model}"
        sections.append(Section(title, lines, (Cell(title),)))
    return Table(
        "whole_model",
        "Models whose layers are compressed too",
        columns,
        sections,
        NOTES,
        notes,
        ("Task",),
    )


def _score(row: Row, task: str, labels: Labels) -> Cell:
    """The score of a row on a task."""
    text = score_text(row.results[task], labels.tasks[task])
    return Cell(text, row.value(task, "value"))


def _dense(modules: DataFrame, kinds: list[str], score: Cell) -> list[Cell]:
    """The uncompressed model, from what variants that compress a kind record about it."""
    variants = modules.groupby(["method", "target_ratio", "seed"], dropna=False)
    parameters = variants["dense_parameters"].sum().max()
    dense = modules.groupby("kind")[["dense_parameters", "dense_flops"]].max()
    compressed = dense["dense_parameters"].drop(KEPT).sum()
    dense.loc[KEPT, "dense_parameters"] = parameters - compressed
    return [
        Cell("uncompressed"),
        Cell(DASH),
        number_cell(1, 2),
        number_cell(100),
        score,
        number_cell(parameters / MILLION, 2),
        number_cell(dense["dense_flops"].sum() / BILLION, 2),
        *_megabytes(32 * dense["dense_parameters"], kinds),
    ]


def _variant(
    row: Row, modules: DataFrame, scores: DataFrame, kinds: list[str], kept: list[Cell]
) -> list[Cell]:
    """Ratio, retention, score, parameters, operations and sizes of a variant at a ratio."""
    own, scores = (_of_row(frame, row) for frame in (modules, scores))
    means = own.groupby("kind")[["bits", "flops"]].mean()
    floats = own.groupby("seed")["floats"].sum(min_count=len(means)).mean()
    # Rounded down: 3.996 must not look as if it reached a ratio of 4.
    ratio = math.floor(100 * scores["model_ratio"].min()) / 100
    return [
        number_cell(ratio, 2),
        *kept,
        number_cell(floats / MILLION, 2),
        number_cell(means["flops"].sum() / BILLION, 2),
        *_megabytes(means["bits"], kinds),
    ]


def _of_row(frame: DataFrame, row: Row) -> DataFrame:
    """The lines of a table that belong to a row's method and target ratio."""
    own = frame[frame["method"] == row.method]
    return own if math.isnan(row.target) else own[own["target_ratio"] == row.target]


def _megabytes(bits: "pandas.Series[float]", kinds: list[str]) -> list[Cell]:
    """Megabytes of each kind; a dash where there is none."""
    return [
        number_cell(bits[kind] / MEGABYTE, 2) if kind in bits.index else Cell(DASH)
        for kind in kinds
    ]
