"""What did not shrink and why.

A checkpoint's other weights, and where the bits of every compressed matrix are.
"""

from pathlib import Path

import pandas
from pandas import DataFrame

from ...analysis.scores import Labels
from .latex import escape, method_label
from .rows import DASH, Notes, Row, blocks_of, comparison, number

LEAST = 0.0005
"""Share of all bits below which a tensor is not named."""
MEGABYTE = 8 * 10**6
"""Bits in 10^6 bytes."""
WHAT = [
    "MB: a million bytes, as fp32. Weights below 0.05 % of a model are left out. At most: the ratio of the whole model were "
    "its embedding nothing. A tied output head is the embedding and shrinks with it.",
    "Reached: of the embedding, the smallest over checkpoints. Rows kept: of the matrix, as they were. Stored: tensors of "
    "the artefact with their share of its bits, means over checkpoints and seeds; U8 holds packed bits.",
]


def read_sizes(path: Path) -> DataFrame:
    """results/sizes.csv; only numbers may be missing.

    The method of a checkpoint's own weights is "".
    """
    empty = {column: [""] for column in ("target_ratio", "rows_kept")}
    return pandas.read_csv(path, keep_default_na=False, na_values=empty, encoding="utf-8")


def sizes_table(sizes: DataFrame, scores: DataFrame, labels: Labels) -> str:
    """LaTeX, two longtables as both may fill pages: the checkpoints' weights, and a line a method
    and ratio.

    Args:
        sizes: results/sizes.csv, from `embpress.analysis.sizes`.
        scores: the table of scores, for the ratios reached and the reasons why others were not.
        labels: of the same study.
    """
    notes = Notes()
    first = _longtable(
        "@{}lrrl@{}",
        ["Weights", "MB", r"\% of model", "Why"],
        _weights(sizes[sizes["method"] == ""]),
    )
    shown = [row for row in comparison(scores, labels) if not row.compresses_layers]
    rows = [row for row in shown if labels.methods[row.method].kind != "control"]
    stored = sizes[sizes["method"] != ""]
    lines = []
    for title, block in blocks_of(rows):
        lines += [r"\midrule", _title(title)]
        lines += [
            " & ".join([method_label(r, labels, notes), *_line(r, stored, notes)]) + r" \\"
            for r in block
        ]
    second = _longtable(
        r"@{}lrr>{\raggedright\arraybackslash}p{3.6in}@{}",
        ["Method", "Reached", r"\% rows kept", r"Stored, \% of bits"],
        lines,
    )
    small = [
        *map(escape, WHAT),
        *(rf"\textsuperscript{{{notes.mark(s)}}}\,{escape(s)}" for s in notes.sentences),
    ]
    if any(labels.methods[r.method].reconstruction for r in rows):
        small.append(r"$^\dagger$\,reconstruction: the paper's full text was not available.")
    return (
        first
        + second
        + "\\par\\smallskip\n{\\scriptsize\\raggedright\n"
        + "\n".join(small)
        + "\n\\par}\n"
    )


def _longtable(spec: str, heads: list[str], lines: list[str]) -> str:
    """A small longtable between rules."""
    head = " & ".join(heads) + r" \\"
    body = [
        rf"\begin{{longtable}}{{{spec}}}",
        r"\toprule",
        head,
        r"\endhead",
        r"\bottomrule",
        r"\endfoot",
        *lines,
    ]
    return (
        "\\begingroup\\setlength{\\tabcolsep}{5pt}\\scriptsize%\n"
        + "\n".join(body)
        + "\n\\end{longtable}\n\\endgroup\n"
    )


def _title(text: str) -> str:
    """A line over all four columns, which stays on the page of the next line."""
    return rf"\multicolumn{{4}}{{@{{}}l}}{{\itshape {escape(text)}}} \\*"


def _weights(weights: DataFrame) -> list[str]:
    """A block a checkpoint, its largest weights first."""
    lines = []
    for model, parts in weights.groupby("model", sort=False):
        total = parts["bits"].sum()
        embedding = parts["bits"].iloc[0]
        lines += [
            r"\midrule",
            _title(f"{model}: at most {number(total / (total - embedding))}× smaller"),
        ]
        for part in parts[parts["bits"] >= LEAST * total].itertuples():
            shown = [number(float(part.bits) / MEGABYTE), number(100 * float(part.bits) / total)]  # type: ignore[arg-type]
            lines.append(
                " & ".join([escape(str(part.part)), *shown, escape(str(part.why))]) + r" \\"
            )
    return lines


def _line(row: Row, stored: DataFrame, notes: Notes) -> list[str]:
    """Ratio reached, share of rows kept, and shares of the tensors.

    The reason where there is no artefact.
    """
    reached = row.ratio("achieved_ratio")
    if reached == DASH:
        reasons = dict.fromkeys(f.note for f in row.found.values() if f.note)
        marks = ",".join(notes.mark(reason) for reason in reasons)
        return [DASH + (rf"\textsuperscript{{{marks}}}" if marks else ""), DASH, "out of reach"]
    own = stored[(stored["method"] == row.method) & (stored["target_ratio"] == row.asked)]
    kept = (own["rows_kept"] / own["rows"]).mean()
    total = own.groupby(["model", "seed"])["bits"].transform("sum")
    artefacts = max(1, len(own.drop_duplicates(["model", "seed"])))
    shares = (own["bits"] / total).groupby([own["part"], own["dtype"]]).sum() / artefacts
    found = [(p, d, s) for (p, d), s in shares.sort_values(ascending=False).items() if s >= LEAST]  # type: ignore[misc]
    if row.over_budget and found:
        largest = found[0]
        low = row.spread("achieved_ratio")[0]
        alone = f"{largest[0]} alone would reach {low / largest[2]:.2f}×, with all else that it stores it is {low:.2f}×"
        reached += rf"\textsuperscript{{{notes.mark(f'Short of its ratio: {alone}')}}}"
    return [
        reached,
        number(100 * kept),
        ", ".join(escape(f"{p} ({d}) {100 * s:.1f}") for p, d, s in found),
    ]
