"""What whole-model variants store and compute, kind by kind.

Beside what they keep of each score.
"""

import math
import textwrap
from pathlib import Path
from typing import NamedTuple

import pandas
from pandas import DataFrame

from ...analysis.scores import Labels
from ...study.layer_kinds import KEPT, KINDS
from .latex import cell, escape, s_column, stacked, tabular, width_of
from .rows import DASH, Notes, Row, comparison, number, score

MEGABYTE = 8 * 10**6
MILLION = 10**6
BILLION = 10**9
"""Bits in 10^6 bytes; parameters; floating-point operations."""
WHAT = [
    "Parameters: floats that are stored, in millions; a dash where integer codes carry the values. Operations: 10^9 "
    "floating-point operations of the compressed matrices' products for 128 tokens. MB: 10^6 bytes stored of each kind.",
    "Ratio: dense fp32 bits / bits stored of the whole model, the smallest over seeds; all else are means over seeds. "
    "Retention (ret.): score / uncompressed score, in %.",
]


class Line(NamedTuple):
    """A row as shown."""

    label: str
    cells: list[str]


class Block(NamedTuple):
    """The rows of one task."""

    title: str
    lines: list[Line]


def read_modules(path: Path) -> DataFrame:
    """results/modules.csv."""
    return pandas.read_csv(path, encoding="utf-8")


def whole_model_table(modules: DataFrame, scores: DataFrame, labels: Labels) -> str:
    """LaTeX, a block a task.

    Args:
        modules: results/modules.csv, from `embpress.modules.sizes`.
        scores: the table of scores.
        labels: of the same study.
    """
    notes = Notes()
    heads = heads_of(modules)
    blocks = blocks_of_tasks(modules, scores, labels, notes)
    cells = [line.cells for block in blocks for line in block.lines]
    spec = "@{}l" + "".join(s_column(column) for column in zip(*cells)) + "@{}"
    lines = []
    for block in blocks:
        lines += [
            r"\midrule",
            rf"\multicolumn{{{len(heads)}}}{{@{{}}l}}{{\itshape {escape(block.title)}}} \\",
        ]
        lines += [
            " & ".join([escape(line.label), *(cell(c, False) for c in line.cells)]) + r" \\"
            for line in block.lines
        ]
    # Narrow heads: the numbers below them are, and there are up to fifteen columns.
    header = (
        " & ".join([heads[0], *(f"{{\\tiny {stacked(head, 5)}}}" for head in heads[1:])]) + r" \\"
    )
    shown = [
        max(map(width_of, column))
        for column in zip(*([b.label, *b.cells] for block in blocks for b in block.lines))
    ]
    small = [
        *map(escape, WHAT),
        *(rf"\textsuperscript{{{notes.mark(s)}}}\,{escape(s)}" for s in notes.sentences),
    ]
    below = "\\par\\smallskip\n{\\scriptsize\\raggedright\n" + "\n".join(small) + "\n\\par}\n"
    return tabular(spec, header, lines, sum(shown)) + below


def whole_model_text(modules: DataFrame, scores: DataFrame, labels: Labels) -> str:
    """The same as plain text."""
    notes = Notes()
    heads = heads_of(modules)
    blocks = blocks_of_tasks(modules, scores, labels, notes)
    rows = [heads, *([line.label, *line.cells] for block in blocks for line in block.lines)]
    widths = [max(map(len, column)) for column in zip(*rows)]

    def padded(row: list[str]) -> str:
        return " ".join(
            text.rjust(w) if i else text.ljust(w) for i, (text, w) in enumerate(zip(row, widths))
        ).rstrip()

    lines = [padded(heads)]
    for block in blocks:
        lines += [block.title, *(padded([line.label, *line.cells]) for line in block.lines)]
    general = WHAT + [f"^{notes.mark(s)} {s}" for s in notes.sentences]
    return "\n".join(lines + [""] + [w for g in general for w in textwrap.wrap(g, 120)]) + "\n"


def heads_of(modules: DataFrame) -> list[str]:
    """Of all columns."""
    kinds = [f"{kind.replace('_', ' ')} MB" for kind in _kinds(modules)]
    return ["Method", "asked", "ratio", "par. M", "oper. G", *kinds, "score", "ret."]


def _kinds(modules: DataFrame) -> list[str]:
    """Kinds in their order, what is not compressed last."""
    return [kind for kind in (*KINDS, KEPT) if kind in set(modules["kind"])]


def blocks_of_tasks(
    modules: DataFrame, scores: DataFrame, labels: Labels, notes: Notes
) -> list[Block]:
    """A block a task that runs a whole-model variant."""
    rows = comparison(scores, labels)
    blocks = []
    for task, about in labels.tasks.items():
        own = [
            row
            for row in rows
            if task in row.found and labels.methods[row.method].compresses_layers
        ]
        if not own:
            continue
        of_model = modules[modules["model"] == (about.checkpoint or about.model)]
        (identity,) = (row.found[task] for row in rows if row.method == "identity")
        lines = [_dense(of_model, _kinds(modules), score(identity, about))] if len(of_model) else []
        lines += [_line(row, task, of_model, _kinds(modules), scores, labels, notes) for row in own]
        blocks.append(Block(f"{about.label}, {about.metric_label}, {about.model}", lines))
    return blocks


def _dense(modules: DataFrame, kinds: list[str], value: str) -> Line:
    """The uncompressed model: of each kind, what a variant that compresses it says of it."""
    parameters = (
        modules.groupby(["method", "target_ratio", "seed"], dropna=False)["dense_parameters"]
        .sum()
        .max()
    )
    dense = modules.groupby("kind")[["dense_parameters", "dense_flops"]].max()
    dense.loc[KEPT, "dense_parameters"] = parameters - dense["dense_parameters"].drop(KEPT).sum()
    sizes = [
        number(32 * dense["dense_parameters"][k] / MEGABYTE, 2) if k in dense.index else DASH
        for k in kinds
    ]
    flops = number(dense["dense_flops"].sum() / BILLION, 2)
    return Line(
        "uncompressed",
        [DASH, "1.00", number(parameters / MILLION, 2), flops, *sizes, value, "100.0"],
    )


def _line(
    row: Row,
    task: str,
    modules: DataFrame,
    kinds: list[str],
    scores: DataFrame,
    labels: Labels,
    notes: Notes,
) -> Line:
    """A variant at a ratio; dashes and the reason where it does not reach it."""
    found = row.found[task]
    about = labels.methods[row.method]
    control = math.isnan(row.asked)
    asked = DASH if control else number(row.asked)
    if math.isnan(found.value):
        return Line(
            about.label,
            [asked, *[DASH] * (len(kinds) + 4), f"{DASH}^{notes.mark(found.note or 'No score.')}"],
        )
    own = modules[modules["method"] == row.method]
    of_task = scores[scores["task"] == task]
    of_task = of_task[of_task["method"] == row.method]
    if not control:
        own = own[own["target_ratio"] == row.asked]
        of_task = of_task[of_task["target_ratio"] == row.asked]
    means = own.groupby("kind")[["bits", "flops"]].mean()
    floats = own.groupby("seed")["floats"].sum(min_count=len(means)).mean()
    cells = [
        asked,
        number(
            math.floor(100 * of_task["model_ratio"].min()) / 100, 2
        ),  # 3.996 must not look as if it kept a budget of 4
        number(floats / MILLION, 2),
        number(means["flops"].sum() / BILLION, 2),
        *(
            number(means["bits"][kind] / MEGABYTE, 2) if kind in means.index else DASH
            for kind in kinds
        ),
        score(found, labels.tasks[task]),
        number(found.retention),
    ]
    return Line(about.label, cells)
