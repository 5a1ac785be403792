"""The claims of the papers, the comparisons that test them, and the verdicts.

As LaTeX and as text.
"""

import math
import textwrap
from typing import Any

from pandas import DataFrame

from ...analysis.scores import Labels
from ...analysis.verdicts import HOLDS, summarize_claim
from ...study.metric_names import ERRORS
from .latex import escape
from .rows import DASH, Notes, number

Claims = dict[str, dict[str, Any]]
"""The config's `claims:`."""

WHAT = [
    "Holds: the 95 % interval of the difference (paired bootstrap over the same test examples) lies on the claimed side of "
    "0; undecided: it covers 0; does not hold: it lies on the other side. Errors of the matrix have no test examples: there "
    "the numbers alone decide, and a tie decides nothing.",
    "At equal ratio asked of the embedding; claims.csv has the ratios reached, which may be higher. Difference: first - "
    "second number. Many comparisons are made: about one in twenty of those without a true difference is decided by chance.",
    "Evidence: where the claim was read (the paper's abstract, text or code), or inferred by us from the method.",
]


def _scale(metric: str, task: str, labels: Labels) -> tuple[float, int]:
    """What numbers of a metric are shown times, and with how many decimals."""
    if metric in ERRORS:
        return 1, 3
    return (100, 1) if labels.tasks[task].percent else (1, 2)


def _measure(row: Any, labels: Labels) -> tuple[str, bool]:
    """A metric's name, and whether higher is better."""
    if row.metric in ERRORS:
        return row.metric.replace("_", " "), ERRORS[row.metric]
    task = labels.tasks[row.task]
    name = (
        task.metric_label if row.metric == task.metric else task.metrics.get(row.metric, row.metric)
    )
    return name, task.higher_is_better


def _numbers(row: Any, labels: Labels) -> list[str]:
    """Both numbers, their difference and its interval as shown."""
    scale, decimals = _scale(row.metric, row.task, labels)
    shown = [
        number(scale * value, decimals)
        for value in (row.better_value, row.worse_value, row.difference)
    ]
    ends = [number(scale * value, decimals) for value in (row.low, row.high)]
    return [*shown, "" if math.isnan(row.low) else f"[{', '.join(ends)}]"]


def _ratio(row: Any) -> str:
    """The ratio asked."""
    return DASH if row.ratio is None or math.isnan(row.ratio) else f"{row.ratio:g}"


def _about(claim: dict[str, Any]) -> tuple[str, str]:
    """How a claim's paper is called, and where the claim was read."""
    return claim.get("label", claim["paper"]), claim["evidence"]


def _tex(text: str) -> str:
    """Numbers with a true minus and powers of ten; a dash stays."""
    if text == DASH or not text:
        return text
    parts = [
        p if (i := p.find("e")) < 0 else rf"{p[:i]}{{\cdot}}10^{{{p[i + 1 :]}}}"
        for p in text.strip("[]").split(", ")
    ]
    inner = r",\,".join(p.replace("inf", r"\infty") for p in parts)
    return f"$[{inner}]$" if text[0] == "[" else f"${inner}$"


HEADS = ["Ratio", "First", "Second", "Difference", "95\\,\\% interval", "Verdict"]


def _spanning(text: str, indent: str = "") -> str:
    """A line over all columns, which stays on the page of the next line."""
    return (
        rf"\multicolumn{{{len(HEADS)}}}{{@{{}}p{{6.2in}}@{{}}}}{{\raggedright{indent} {text}}} \\*"
    )


def claims_table(rows: DataFrame, claims: Claims, labels: Labels) -> str:
    """LaTeX: a block a claim, with its verdict, then a line a comparison and ratio.

    A longtable, as it may fill pages.
    """
    notes = Notes()
    head = " & ".join(HEADS) + r" \\"
    lines = [
        r"\begin{longtable}{@{}rrrrll@{}}",
        r"\toprule",
        head,
        r"\endhead",
        r"\bottomrule",
        r"\endfoot",
    ]
    for key, claim in claims.items():
        own, (paper, evidence) = rows[rows["claim"] == key], _about(claim)
        title = rf"\textbf{{{escape(paper)}}}: {escape(claim['text'])} ({escape(evidence)}) \textbf{{{escape(summarize_claim(own))}}}"
        lines += [r"\midrule", _spanning(title)]
        for row, before in _with_previous(own):
            lines += (
                []
                if _same(row, before)
                else [_spanning(_tex_words(row, labels), r"\hangindent=2em\quad")]
            )
            lines.append(_tex_line(row, labels, notes))
    lines.append(r"\end{longtable}")
    small = [escape(note) for note in WHAT] + [
        rf"\textsuperscript{{{notes.mark(s)}}}\,{escape(s)}" for s in notes.sentences
    ]
    return (
        "\\begingroup\\setlength{\\tabcolsep}{6pt}\\scriptsize%\n"
        + "\n".join(lines)
        + "\n\\par\\endgroup\n"
        "\\par\\smallskip\n{\\scriptsize\\raggedright\n" + "\n".join(small) + "\n\\par}\n"
    )


def _with_previous(rows: DataFrame) -> list[tuple[Any, Any]]:
    """Each row with the one before it, whose repeated words need not be read again."""
    found = list(rows.itertuples())
    return list(zip(found, [None, *found]))


def _same(row: Any, before: Any) -> bool:
    """Whether two rows differ by their ratio alone."""
    return before is not None and all(
        getattr(row, c) == getattr(before, c) for c in ("better", "worse", "task", "metric")
    )


def _tex_words(row: Any, labels: Labels) -> str:
    """What is compared."""
    name, higher = _measure(row, labels)
    pair = " better than ".join(escape(labels.methods[m].label) for m in (row.better, row.worse))
    arrow = r"\,$\uparrow$" if higher else r"\,$\downarrow$"
    return f"{pair}: {escape(labels.tasks[row.task].label)}, {escape(name)}{arrow}"


def _tex_line(row: Any, labels: Labels, notes: Notes) -> str:
    """One comparison at one ratio."""
    shown = rf"\textbf{{{row.verdict}}}" if row.verdict == HOLDS else row.verdict
    mark = rf"\textsuperscript{{{notes.mark(row.note)}}}" if row.note else ""
    return " & ".join([_ratio(row), *map(_tex, _numbers(row, labels)), shown + mark]) + r" \\"


def claims_text(rows: DataFrame, claims: Claims, labels: Labels, width: int = 120) -> str:
    """Plain text for the terminal, a block a claim."""
    notes = Notes()
    lines = []
    for key, claim in claims.items():
        own, (paper, evidence) = rows[rows["claim"] == key], _about(claim)
        lines += textwrap.wrap(f"{paper}: {claim['text']} ({evidence})", width)
        lines += [f"  -> {summarize_claim(own)}", *_text_lines(own, labels, notes, width), ""]
    small = [*WHAT, *(f"^{notes.mark(sentence)} {sentence}" for sentence in notes.sentences)]
    return "\n".join(lines + [w for note in small for w in textwrap.wrap(note, width)]) + "\n"


def _text_lines(rows: DataFrame, labels: Labels, notes: Notes, width: int) -> list[str]:
    """Lines of one claim: what is compared, and below it the numbers at each ratio, padded."""
    table = []
    for row in rows.itertuples():
        verdict = row.verdict + (f"^{notes.mark(str(row.note))}" if row.note else "")
        table.append([f"{_ratio(row)}×", *_numbers(row, labels), verdict])
    widths = [max(len(cells[i]) for cells in table) for i in range(len(table[0]))]
    lines = []
    for (row, before), cells in zip(_with_previous(rows), table):
        if not _same(row, before):
            name, higher = _measure(row, labels)
            pair = f"{labels.methods[row.better].label} > {labels.methods[row.worse].label}"
            words = f"{pair}: {row.task}, {name} ({'higher' if higher else 'lower'} is better)"
            lines += textwrap.wrap(words, width, initial_indent="  ", subsequent_indent="    ")
        *numbers, last = (c.rjust(w) for c, w in zip(cells, widths))
        lines.append("    " + "  ".join([*numbers, last.strip()]))
    return lines
