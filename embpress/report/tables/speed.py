"""Latency of lookups, as LaTeX."""

import math
from typing import Any

from pandas import DataFrame

from ...analysis.scores import Labels
from .latex import cell, escape, s_column
from .rows import number

WHAT = (
    "Median microseconds of a lookup of so many rows in one thread; x dense: times a dense lookup of the same rows in the "
    "same run. MB: a million bytes of stored tensors. Times depend on the machine and differ from run to run."
)


def speed_table(speed: DataFrame, labels: Labels) -> str:
    """LaTeX: a block a checkpoint and ratio of the study, a line a method; columns by number of
    rows.

    Args:
        speed: results/speed.csv, from `embpress.analysis.speed`.
        labels: of the same study.
    """
    counts = sorted(set(speed["rows"]))
    lines: list[tuple[str, list[str]] | str] = []
    for model, of_model in speed.groupby("model", sort=False):
        for title, group in _blocks(of_model, labels):
            lines.append(
                rf"\multicolumn{{{2 + 2 * len(counts)}}}{{@{{}}l}}{{\itshape {escape(f'{model}{title}')}}} \\*"
            )
            for (method, _), own in group.groupby(
                ["method", "target_ratio"], sort=False, dropna=False
            ):
                lines.append((escape(labels.methods[str(method)].label), _numbers(own, counts)))
    numbers = [line[1] for line in lines if not isinstance(line, str)]
    head = (
        " & ".join(
            ["", "{MB}", *(f"{{{n:,} row{'s' * (n > 1)}}} & {{$\\times$ dense}}" for n in counts)]
        )
        + r" \\"
    )
    spec = "@{}l" + "".join(s_column(texts) for texts in zip(*numbers)) + "@{}"
    body = []
    for line in lines:
        body += (
            [r"\midrule", line]
            if isinstance(line, str)
            else [" & ".join([line[0], *(cell(t, False) for t in line[1])]) + r" \\"]
        )
    begin = [
        rf"\begin{{longtable}}{{{spec}}}",
        r"\toprule",
        head,
        r"\endhead",
        r"\bottomrule",
        r"\endfoot",
    ]
    return (
        "\\begingroup\\setlength{\\tabcolsep}{5pt}\\scriptsize%\n"
        + "\n".join([*begin, *body, r"\end{longtable}"])
        + f"\n\\endgroup\n\\par\\smallskip\n{{\\scriptsize\\raggedright\n{escape(WHAT)}\n\\par}}\n"
    )


def _blocks(speed: DataFrame, labels: Labels) -> list[tuple[str, DataFrame]]:
    """The dense matrix, then the methods at each ratio of the study in its order.

    Each with its title.
    """
    order = {method: i for i, method in enumerate(labels.methods)}
    speed = speed.sort_values("method", key=lambda column: column.map(order), kind="stable")
    blocks = speed["target_ratio"].map(
        lambda ratio: 0.0 if math.isnan(ratio) else labels.block(ratio)
    )
    return [
        (f", asked {block:g}×" if block else "", speed[blocks == block])
        for block in sorted(set(blocks))
    ]


def _numbers(own: DataFrame, counts: list[int]) -> list[str]:
    """Megabytes, and time and quotient for each number of rows."""
    found: dict[Any, Any] = {row.rows: row for row in own.itertuples()}
    texts = [number(float(own["bytes"].iloc[0]) / 1e6, 2)]
    for n in counts:
        texts += [number(found[n].microseconds, 0), number(found[n].microseconds / found[n].dense)]
    return texts
