"""Variants of one method beside each other, as LaTeX."""

import math
from typing import Any

from pandas import DataFrame

from ...analysis.scores import Labels
from .latex import cell, escape, s_column
from .rows import DASH, Notes, number, score

HEADS = ["Variant", "Reached", "Score", r"Ret. (\%)", r"95\,\% interval", "w. error"]
WHAT = (
    "Ret.: retention, as in the main table. w. error: relative error of the matrix, weighted by token counts. Bold: the "
    "highest retention of a group, and all whose interval reaches it."
)


def ablations_table(found: DataFrame, labels: Labels) -> str:
    """LaTeX, a longtable: a block a method, task and ratio; a line a variant, in the order of the
    study.

    Args:
        found: from `embpress.analysis.ablations`.
        labels: of the same study.
    """
    notes = Notes()
    lines = []
    numbers = []
    for (base, task, ratio), group in found.groupby(["base", "task", "target_ratio"], sort=False):
        about = labels.tasks[str(task)]
        name = labels.methods[str(base)].label if base in labels.methods else str(base)
        title = escape(f"{name}: {about.label}, {about.metric_label}, asked {ratio:g}×")
        lines += [r"\midrule", rf"\multicolumn{{{len(HEADS)}}}{{@{{}}l}}{{\itshape {title}}} \\*"]
        strong = _best(group)
        for i, row in enumerate(group.itertuples()):
            texts = _numbers(row, about)
            numbers.append(texts)
            label = escape(labels.methods[str(row.method)].label)
            mark = rf"\textsuperscript{{{notes.mark(str(row.note))}}}" if row.note else ""
            cells = [
                label + mark,
                *(cell(text, j == 2 and i in strong) for j, text in enumerate(texts)),
            ]
            cells.insert(4, _interval(row))
            lines.append(" & ".join(cells) + r" \\")
    columns = [s_column(texts) for texts in zip(*numbers)]
    columns.insert(3, "r")
    head = " & ".join([HEADS[0], *(f"{{{h}}}" for h in HEADS[1:])]) + r" \\"
    body = [
        rf"\begin{{longtable}}{{@{{}}l{''.join(columns)}@{{}}}}",
        r"\toprule",
        head,
        r"\endhead",
        r"\bottomrule",
        r"\endfoot",
    ]
    small = [
        escape(WHAT),
        *(rf"\textsuperscript{{{notes.mark(s)}}}\,{escape(s)}" for s in notes.sentences),
    ]
    return (
        "\\begingroup\\setlength{\\tabcolsep}{5pt}\\scriptsize%\n"
        + "\n".join([*body, *lines, r"\end{longtable}"])
        + "\n\\endgroup\n\\par\\smallskip\n{\\scriptsize\\raggedright\n"
        + "\n".join(small)
        + "\n\\par}\n"
    )


def _numbers(row: Any, about: Any) -> list[str]:
    """Ratio reached, score, retention and weighted error as shown."""
    value = DASH if math.isnan(row.value) else score(row, about)
    return [
        number(row.achieved_ratio),
        value,
        number(row.retention),
        number(row.weighted_relative_error, 3),
    ]


def _interval(row: Any) -> str:
    """Retention's interval, with a true minus."""
    return (
        DASH
        if math.isnan(row.retention_low)
        else f"$[{number(row.retention_low)},\\,{number(row.retention_high)}]$"
    )


def _best(group: DataFrame) -> set[int]:
    """Positions of the highest retention and of those whose interval holds it."""
    retention = group["retention"].to_numpy()
    if not (known := [v for v in retention if not math.isnan(v)]):
        return set()
    return {
        i
        for i, (v, high) in enumerate(zip(retention, group["retention_high"]))
        if v == max(known) or high >= max(known)
    }
