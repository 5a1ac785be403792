"""A study's files to one HTML page that needs nothing else.

Styles, script and pictures are inside.
"""

import base64
import json
import struct
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pandas
import yaml
from jinja2 import Environment, FileSystemLoader, StrictUndefined
from pandas import DataFrame

from ...analysis.ablations import compare_variants
from ...analysis.predictors import correlate_metrics
from ...analysis.published import read_published
from ...analysis.scores import Labels, read_scores
from ...files import write_text
from ..paper import TASK_FIGURE, figure_caption
from ..tables import read_modules, read_sizes
from . import tables
from .summary import choices

FOLDER = Path(__file__).parent
CATEGORIES = {
    "retention": "Scores",
    "whole_models": "Scores",
    "pareto": "Scores",
    "error_vs_score": "Errors of the matrix",
    "predictors": "Errors of the matrix",
    "error_vs_ratio": "Errors of the matrix",
    "error_by_decile": "Errors of the matrix",
    "spectra": "Errors of the matrix",
    "ablations": "Ablations",
    "latency_vs_size": "Size and speed",
    "learning_curves": "Training",
}
"""Where a figure stands, by file name; figures of one task stand with the scores."""
ORDER = [
    "Scores",
    "Size and speed",
    "Errors of the matrix",
    "Ablations",
    "Claims",
    "Training",
    "Other",
]
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
    height: int


def render_report(inputs: ReportInputs, page: Path) -> None:
    """Write the report of a study."""
    labels = Labels.from_json(json.loads(inputs.labels.read_text(encoding="utf-8")))
    scores = read_scores(inputs.scores)
    provenance = json.loads(inputs.provenance.read_text(encoding="utf-8"))
    jobs = provenance["jobs"]
    shown = _tables(inputs, scores, labels, provenance["study"])
    pictures = [_picture(file, labels) for file in inputs.figures]
    sections = [
        (
            category,
            [p for p in pictures if p.category == category],
            [t for t in shown if t.category == category],
        )
        for category in ORDER
    ]
    environment = Environment(
        loader=FileSystemLoader(FOLDER), autoescape=True, undefined=StrictUndefined
    )
    environment.trim_blocks = environment.lstrip_blocks = True
    text = environment.get_template("page.html.j2").render(
        style=(FOLDER / "page.css").read_text(encoding="utf-8"),
        script=(FOLDER / "page.js").read_text(encoding="utf-8"),
        study=provenance["study"]["study"],
        seeds=provenance["study"]["seeds"],
        labels=labels,
        choices=choices(scores, labels),
        sections=[section for section in sections if section[1] or section[2]],
        provenance=provenance,
        config=yaml.safe_dump(provenance["study"], sort_keys=False, allow_unicode=True, width=100),
        job_tables=[tables.rules_table(jobs), tables.jobs_table(jobs)],
    )
    write_text(page, text)


def _tables(
    inputs: ReportInputs, scores: DataFrame, labels: Labels, study: dict[str, Any]
) -> list[tables.Table]:
    """All tables but those of jobs; one without rows is left out."""
    found = [tables.comparison_table(scores, labels)]
    if inputs.averages is not None:
        found.append(tables.averages_table(read_scores(inputs.averages), study["averages"], labels))
    if inputs.modules is not None:
        found.append(tables.whole_model_table(read_modules(inputs.modules), scores, labels))
    found += [
        tables.scores_table(scores, labels),
        tables.speed_table(pandas.read_csv(inputs.speed), labels),
        tables.sizes_table(read_sizes(inputs.sizes), labels),
        tables.predictors_table(correlate_metrics(scores, labels), labels),
        tables.errors_table(scores, labels),
        tables.ablations_table(compare_variants(scores, labels), labels),
    ]
    if inputs.claims is not None:
        claims = pandas.read_csv(inputs.claims, keep_default_na=False, na_values=[""])
        found += [
            tables.claims_table(claims, study["claims"]),
            tables.comparisons_table(claims, labels),
        ]
    if inputs.search is not None:
        found.append(tables.search_table(pandas.read_csv(inputs.search), labels))
    found.append(tables.published_table(read_published(inputs.published)))
    return [table for table in found if table.rows]


def _picture(file: Path, labels: Labels) -> Picture:
    """A PNG as a data: URI, shown at half its pixels as it is drawn for print."""
    data = file.read_bytes()
    if not data.startswith(PNG):
        raise ValueError(f"{file} is no PNG")
    width, height = struct.unpack(">II", data[16:24])
    category = CATEGORIES.get(file.stem, "Scores" if file.stem.startswith(TASK_FIGURE) else "Other")
    source = f"data:image/png;base64,{base64.b64encode(data).decode()}"
    return Picture(
        file.stem, category, figure_caption(file.stem, labels), source, width // 2, height // 2
    )
