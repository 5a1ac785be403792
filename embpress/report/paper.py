"""One document of all tables and figures of a study, with captions and a bibliography."""

import os
from collections.abc import Iterable
from pathlib import Path

from ..analysis.scores import Labels
from .plots.style import COLUMN, PAGE
from .tables.latex import PREAMBLE, escape

TABLES = {
    "main": "All methods on all tasks at equal bits of the embedding.",
    "claims": "The papers' claims, and whether they hold in this study.",
    "sizes": "What did not shrink and why: each model's other weights, and where the bits of each compressed matrix are.",
    "whole_model": "Whole models: what is stored and computed, kind of matrix by kind, and what is left of each score.",
    "predictors": "Which cheap metric of the matrix predicts what is left of a score.",
    "ablations": "Variants of one method at equal ratio.",
    "search": "Settings of fine-tuning that were searched, and how each candidate scored on held-out training examples.",
    "speed": "How long lookups take.",
}
"""Captions as plain text, by file name; tables of tasks and papers have their own."""
FIGURES = {
    "retention": "Share of the score that is left at each compression ratio, with its 95 % interval.",
    "whole_models": "Methods that compress more than the embedding: share of the score that is left at the ratio of all "
    "that they compress, with its 95 % interval.",
    "pareto": "Pareto fronts: what is left of the score, or the perplexity, by ratio and by megabytes on disk, with 95 % "
    "intervals. Methods that others beat at the same size (within 5 %) or a smaller one are faded.",
    "error_vs_score": "Error of the matrix, weighted by token counts, against the share of the score that is left.",
    "predictors": "Share of the score that is left against each cheap metric of the matrix; to the right is better. ρ: rank "
    "correlation over all tasks.",
    "error_vs_ratio": "Error of the matrix at each ratio, and the least that any code can reach for Gaussian rows.",
    "error_by_decile": "Error of the matrix by decile of token frequency.",
    "spectra": "Singular values of each embedding matrix; dashed the rank that each ratio buys with two fp32 factors, and "
    "the share of the squared norm that it keeps.",
    "latency_vs_size": "Time of a lookup in one thread against the size of the embedding: medians with quartiles.",
    "ablations": "Variants of one method at equal ratio: share of the score that is left, with its 95 % interval.",
    "learning_curves": "Learning curves: training loss by epoch, the mean over seeds in the band of all seeds; points: loss "
    "on held-out rows, where early stopping asks for some. Loss of students that imitate a teacher: the sum of its terms.",
}
"""Captions as plain text, by file name; figures of tasks have their own."""
SET_UP = "\n".join(
    [
        r"\usepackage{graphicx}",
        r"\AddToHook{env/longtable/begin}{\addtocounter{table}{-1}}% counted by its caption, as all tables are",
        r"\pdfinfoomitdate=1\pdftrailerid{}\pdfsuppressptexinfo=-1% the same bytes every time",
        "",
    ]
)
PAPER = "paper_"
AVERAGE = "average_"
TASK_FIGURE = "retention-"
"""How the names of files for one paper or average, and of figures for one task, begin."""


def document(
    study: str, labels: Labels, tables: Iterable[Path], figures: Iterable[Path], folder: Path
) -> str:
    """LaTeX of the document; cites every paper that has a table, and needs references.bib beside
    it.

    Tables and figures stand one after the other and not in floats: a page-long one would never be
    placed.

    Args:
        study: its name.
        labels: of the study.
        tables: .tex files, in order.
        figures: .pdf files, in order.
        folder: where the document will lie; files are named from there.
    """
    tables = sorted(tables, key=lambda table: _rank(table.stem, labels))
    keys = [t.stem.removeprefix(PAPER) for t in tables if t.stem.startswith(PAPER)]
    cited = ", ".join(f"{_methods_of(key, labels)} " + rf"\cite{{{key}}}" for key in keys)
    title = escape(f"embpress, study {study}")
    lines = [rf"\title{{{title}}}\author{{}}\date{{}}", r"\begin{document}", r"\maketitle"]
    lines += [
        "Methods that compress the token embeddings of language models, compared at equal bits."
    ]
    lines += [f"The papers: {cited}."] if keys else []
    lines += [r"\listoftables", r"\listoffigures", r"\clearpage"]
    for table in tables:
        shown = _shown(
            "table",
            table.stem,
            _table_caption(table.stem, labels),
            rf"\input{{{_from(folder, table)}}}",
        )
        # A longtable that does not start a page leaves its head behind on the page before.
        fills_pages = "longtable" in table.read_text(encoding="utf-8")
        lines += [r"\clearpage", shown, r"\clearpage"] if fills_pages else [shown]
    for figure in figures:
        width = (
            COLUMN / PAGE if figure.stem.startswith(TASK_FIGURE) else 1
        )  # as drawn, so that fonts keep their size
        size = rf"width={width:.3f}\linewidth,height=0.8\textheight,keepaspectratio"
        body = rf"\includegraphics[{size}]{{{_from(folder, figure)}}}"
        lines.append(
            _shown("figure", figure.stem, _both(escape(figure_caption(figure.stem, labels))), body)
        )
    lines += (
        [r"\clearpage", r"\bibliographystyle{unsrt}", r"\bibliography{references}"] if keys else []
    )
    lines += [r"\end{document}"]
    return PREAMBLE + SET_UP + "\n".join(lines) + "\n"


def _methods_of(key: str, labels: Labels) -> str:
    """The labels of a paper's methods in this study."""
    return (
        " and ".join(escape(m.label) for m in labels.methods.values() if m.citation == key)
        or "no method here"
    )


def _rank(stem: str, labels: Labels) -> int:
    """Where a table stands: the comparison, tasks, papers, then all others.

    Within each in the order given.
    """
    return (
        0 if stem == "main" else 1 if stem in labels.tasks else 2 if stem.startswith(PAPER) else 3
    )


def _from(folder: Path, file: Path) -> str:
    """A file's path seen from a folder, with the slashes that LaTeX wants."""
    return Path(os.path.relpath(file, folder)).as_posix()


def _table_caption(stem: str, labels: Labels) -> tuple[str, str]:
    """Short caption for the list, and the whole."""
    if stem.startswith(PAPER):
        key = stem.removeprefix(PAPER)
        own = _methods_of(key, labels)
        return f"Published beside ours: {own}", rf"What \cite{{{key}}} published, and ours ({own})."
    if stem.startswith(AVERAGE):
        return _both(f"Average over tasks, and each task: {escape(stem.removeprefix(AVERAGE))}.")
    if stem in labels.tasks:
        return _both(f"All metrics: {escape(labels.tasks[stem].label)}.")
    return _both(escape(TABLES.get(stem, stem)))


def figure_caption(stem: str, labels: Labels) -> str:
    """Caption of a figure, as plain text."""
    task = stem.removeprefix(TASK_FIGURE)
    if stem.startswith(TASK_FIGURE) and task in labels.tasks:
        return f"Share of the score that is left: {labels.tasks[task].label}."
    return FIGURES.get(stem, stem)


def _both(caption: str) -> tuple[str, str]:
    """The same caption in the list and in place."""
    return caption.removesuffix("."), caption


def _shown(kind: str, stem: str, captions: tuple[str, str], body: str) -> str:
    """One table or figure with its caption above and its label.

    Kept on one page if a page can hold it.
    """
    short, whole = captions
    caption = rf"\makeatletter\def\@captype{{{kind}}}\makeatother\caption[{short}]{{{whole}}}\label{{{kind}:{stem}}}"
    return "\n".join(
        [
            r"\begingroup\centering",
            caption,
            r"\par\bigskip",
            body,
            r"\par\endgroup\bigskip\filbreak",
        ]
    )
