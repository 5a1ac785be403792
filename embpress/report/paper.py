"""A document of all tables and figures of a study, with captions and a bibliography."""

import os
from collections.abc import Iterable
from pathlib import Path

from ..analysis.scores import Labels
from .plots.style import COLUMN, PAGE
from .tables.latex import PREAMBLE, escape

TABLES = {
    "main": "All methods on all tasks at equal bits of the embedding.",
    "claims": "The papers' claims, and whether they hold in this study.",
    "sizes": "The weights of each model that are not compressed, and the stored tensors of each "
    "compressed matrix.",
    "whole_model": "Models whose layers are compressed too: size and operations by kind of matrix, "
    "and retention.",
    "predictors": "Which cheap metric of the matrix predicts retention.",
    "ablations": "Variants of one method at equal ratio.",
    "protocols": "Retention by method and protocol: fine-tuned then compressed, compressed then "
    "fine-tuned, distilled.",
    "search": "Search for settings of fine-tuning: score of each candidate on held-out training "
    "examples.",
    "speed": "Latency of lookups.",
}
"""Captions as plain text, by file name; tables of tasks and papers have captions of their own."""
FIGURES = {
    "retention": "Retention at each compression ratio with its 95 % interval.",
    "whole_models": "Methods that also compress layers: retention at the compression ratio of the "
    "whole model, with its 95 % interval, and the Pareto front. Diamonds: models of papers, "
    "distilled from another model, by GLUE's test average, else by SQuAD's F1; their ratio is of "
    "parameters where the paper gives no other.",
    "pareto": "Pareto fronts: retention, or perplexity, by compression ratio and by size on disk "
    "in MB, with 95 % intervals. Methods that another one beats at the same size (within 5 %) or a "
    "smaller one are faded.",
    "error_vs_score": "Relative error of the matrix, weighted by token counts, against retention.",
    "predictors": "Retention against each cheap metric of the matrix; better values are to the "
    "right. ρ: rank correlation over all tasks.",
    "error_vs_ratio": "Relative error of the matrix at each ratio, and the rate-distortion bound "
    "for Gaussian rows.",
    "error_by_decile": "Relative error of the matrix by decile of token frequency.",
    "spectra": "Singular values of each embedding matrix. Dashed: the rank that two fp32 factors "
    "have at each ratio, with the share of the squared norm that it keeps.",
    "latency_vs_size": "Time of a lookup in one thread against the size of the embedding: medians "
    "with quartiles.",
    "ablations": "Variants of one method at equal ratio: retention with its 95 % interval.",
    "protocols": "Protocols side by side: retention of each method with its 95 % interval.",
    "learning_curves": "Learning curves: training loss by epoch, mean and range over seeds. "
    "Points: loss on held-out rows, where early stopping needs some. The loss of a student is the "
    "sum of its distillation terms.",
}
"""Captions as plain text, by file name; figures of tasks have captions of their own."""
SET_UP = "\n".join(
    [
        r"\usepackage{graphicx}",
        # A longtable counts itself, but its caption counts it too.
        r"\AddToHook{env/longtable/begin}{\addtocounter{table}{-1}}",
        # Two runs write the same bytes.
        r"\pdfinfoomitdate=1\pdftrailerid{}\pdfsuppressptexinfo=-1",
        "",
    ]
)
PAPER = "paper_"
AVERAGE = "average_"
TASK_FIGURE = "retention-"
"""Prefixes of file names: tables of one paper, tables of one average, figures of one task."""


def document(
    study: str, labels: Labels, tables: Iterable[Path], figures: Iterable[Path], folder: Path
) -> str:
    """LaTeX of the document, which cites every paper that has a table.

    It needs references.bib beside it. Tables and figures follow each other and are not floats,
    since a float as long as a page would never be placed.

    Args:
        study: name of the study.
        labels: of the study.
        tables: .tex files, in order.
        figures: .pdf files, in order.
        folder: of the document; files are named relative to it.
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
        # A longtable that does not start a page leaves its head on the page before.
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
        or "no method of this study"
    )


def _rank(stem: str, labels: Labels) -> int:
    """The place of a table: the main table, tasks, papers, then all others."""
    return (
        0 if stem == "main" else 1 if stem in labels.tasks else 2 if stem.startswith(PAPER) else 3
    )


def _from(folder: Path, file: Path) -> str:
    """The path of a file relative to a folder, with the slashes that LaTeX needs."""
    return Path(os.path.relpath(file, folder)).as_posix()


def _table_caption(stem: str, labels: Labels) -> tuple[str, str]:
    """The caption for the list of tables, and the full caption."""
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
        return f"Retention: {labels.tasks[task].label}."
    return FIGURES.get(stem, stem)


def _both(caption: str) -> tuple[str, str]:
    """The same caption in the list and in place."""
    return caption.removesuffix("."), caption


def _shown(kind: str, stem: str, captions: tuple[str, str], body: str) -> str:
    """One table or figure below its caption and label, kept on one page if it fits."""
    short, full = captions
    begin = rf"\makeatletter\def\@captype{{{kind}}}\makeatother"
    caption = rf"{begin}\caption[{short}]{{{full}}}\label{{{kind}:{stem}}}"
    return "\n".join(
        [
            r"\begingroup\centering",
            caption,
            r"\par\bigskip",
            body,
            r"\par\endgroup\bigskip\filbreak",
        ]
    )
