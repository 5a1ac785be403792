"""One HTML page from a study's files; styles, script and pictures are inside it."""

import base64
import json
import struct
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pandas
import yaml
from jinja2 import Environment, FileSystemLoader, StrictUndefined
from markupsafe import Markup
from pandas import DataFrame

from ...analysis.ablations import compare_variants
from ...analysis.averages import average_labels
from ...analysis.predictors import correlate_metrics
from ...analysis.protocols import compare_protocols
from ...analysis.published import read_published
from ...analysis.scores import Labels, read_scores
from ...analysis.verdicts import read_claims, shown_claims
from ...files import write_text
from ...study.claim_entry import AverageEntry, ClaimEntry
from .. import tables
from ..paper import TASK_FIGURE, figure_caption
from .summary import recommend_methods

FOLDER = Path(__file__).parent
FIGURE_CATEGORIES = {
    "retention": "Scores",
    "whole_models": "Scores",
    "pareto": "Scores",
    "error_vs_score": "Errors of the matrix",
    "predictors": "Errors of the matrix",
    "error_vs_ratio": "Errors of the matrix",
    "error_by_decile": "Errors of the matrix",
    "spectra": "Errors of the matrix",
    "protocols": "Scores",
    "ablations": "Ablations",
    "latency_vs_size": "Size and speed",
    "learning_curves": "Training",
}
"""The section of each figure, by file name; figures of one task are among the scores."""
CATEGORIES = [
    "Scores",
    "Size and speed",
    "Errors of the matrix",
    "Ablations",
    "Claims",
    "Training",
    "Other",
]
"""Sections of the page in order."""
PNG = b"\x89PNG\r\n\x1a\n"


@dataclass(frozen=True)
class ReportInputs:
    """The files of a study that a report shows."""

    scores: Path
    labels: Path
    sizes: Path
    speed: Path
    provenance: Path
    published: Path
    figures: list[Path]
    """PNG files, in order."""
    claims: Path | None = None
    averages: Path | None = None
    modules: Path | None = None
    search: Path | None = None


@dataclass(frozen=True)
class Picture:
    """A figure with its caption."""

    key: str
    category: str
    caption: str
    source: str
    """A data: URI."""
    width: int
    """In CSS pixels."""
    height: int


@dataclass(frozen=True)
class PageTable:
    """A table in a section of the page; folded ones are opened by the reader."""

    category: str
    table: tables.Table
    folded: bool = False

    @property
    def html(self) -> Markup:
        """The table's markup, which escapes all texts itself."""
        return Markup(tables.to_html(self.table))


def render_report(inputs: ReportInputs, page: Path) -> None:
    """Write the report of a study.

    Args:
        inputs: files of one study.
        page: the HTML file to write.
    """
    labels = Labels.from_json(json.loads(inputs.labels.read_text(encoding="utf-8")))
    scores = read_scores(inputs.scores)
    provenance = json.loads(inputs.provenance.read_text(encoding="utf-8"))
    study = provenance["study"]
    shown = _page_tables(inputs, scores, labels, study)
    best = labels.at_best()
    pictures = [_picture(file, labels) for file in inputs.figures]
    sections = [
        (
            category,
            [picture for picture in pictures if picture.category == category],
            [table for table in shown if table.category == category],
        )
        for category in CATEGORIES
    ]
    environment = Environment(
        loader=FileSystemLoader(FOLDER), autoescape=True, undefined=StrictUndefined
    )
    environment.trim_blocks = environment.lstrip_blocks = True
    text = environment.get_template("page.html.j2").render(
        style=(FOLDER / "page.css").read_text(encoding="utf-8"),
        script=(FOLDER / "page.js").read_text(encoding="utf-8"),
        study=study["study"],
        seeds=study["seeds"],
        labels=labels,
        recommendations=recommend_methods(best.rows(scores), best),
        sections=[section for section in sections if section[1] or section[2]],
        provenance=provenance,
        config=yaml.safe_dump(study, sort_keys=False, allow_unicode=True, width=100),
        job_tables=[
            PageTable("Provenance", tables.rules_table(provenance["jobs"])),
            PageTable("Provenance", tables.jobs_table(provenance["jobs"]), folded=True),
        ],
    )
    write_text(page, text)


def _page_tables(
    inputs: ReportInputs, scores: DataFrame, labels: Labels, study: Mapping[str, Any]
) -> list[PageTable]:
    """All tables but those of jobs; a table without rows is left out."""
    best = labels.at_best()
    best_scores = best.rows(scores)
    layers = [name for name, method in labels.methods.items() if method.compresses_layers]
    of_embedding = best_scores[~best_scores["method"].isin(layers)]
    correlations = correlate_metrics(best_scores, best)
    variants = compare_variants(scores, labels)
    speed = pandas.read_csv(inputs.speed)
    sizes = tables.read_sizes(inputs.sizes)
    papers = read_published(inputs.published)
    shown = [PageTable("Scores", tables.main_table(of_embedding, best))]
    if inputs.averages is not None:
        averages = read_scores(inputs.averages)
        entries = study["averages"].items()
        typed = {name: AverageEntry.model_validate(entry) for name, entry in entries}
        own = average_labels(typed, best)
        averages = own.rows(averages)
        shown += [
            PageTable("Scores", tables.average_table(averages, own, name)) for name in own.tasks
        ]
    protocols = tables.protocol_tables(compare_protocols(best_scores, best), best)
    shown += [PageTable("Scores", table) for table in protocols]
    if inputs.modules is not None:
        modules = tables.read_modules(inputs.modules)
        shown.append(PageTable("Scores", tables.whole_model_table(modules, scores, labels)))
    shown += [
        PageTable("Scores", tables.counts_table(scores, labels)),
        PageTable("Scores", tables.every_metric_table(scores, labels), folded=True),
        PageTable("Size and speed", tables.speed_table(best.rows(speed), best), folded=True),
        PageTable("Size and speed", tables.tensors_table(sizes, labels), folded=True),
        PageTable("Errors of the matrix", tables.predictors_table(correlations, best)),
        PageTable("Errors of the matrix", tables.errors_table(scores, labels), folded=True),
        PageTable("Ablations", tables.ablations_table(variants, labels), folded=True),
    ]
    if inputs.claims is not None:
        rows = shown_claims(read_claims(inputs.claims), scores, labels)
        entries = study["claims"].items()
        claims = {name: ClaimEntry.model_validate(entry) for name, entry in entries}
        shown += [
            PageTable("Claims", tables.claims_overview(rows, claims)),
            PageTable("Claims", tables.claims_table(rows, claims, labels), folded=True),
        ]
    if inputs.search is not None:
        titles = {task: f"{about.label}, {about.model}" for task, about in labels.tasks.items()}
        candidates = pandas.read_csv(inputs.search)
        shown.append(PageTable("Training", tables.search_table(candidates, titles)))
    shown.append(PageTable("Claims", tables.published_table(papers), folded=True))
    return [table for table in shown if table.table.rows()]


def _picture(file: Path, labels: Labels) -> Picture:
    """A PNG as a data: URI, shown at half its pixels as it is drawn for print.

    Raises:
        ValueError: if the file is not a PNG.
    """
    data = file.read_bytes()
    if not data.startswith(PNG):
        raise ValueError(f"{file} is not a PNG file")
    width, height = struct.unpack(">II", data[16:24])
    other = "Scores" if file.stem.startswith(TASK_FIGURE) else "Other"
    return Picture(
        file.stem,
        FIGURE_CATEGORIES.get(file.stem, other),
        figure_caption(file.stem, labels),
        f"data:image/png;base64,{base64.b64encode(data).decode()}",
        width // 2,
        height // 2,
    )
