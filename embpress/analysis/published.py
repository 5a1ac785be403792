"""Numbers that papers published and whose source is known (workflow/resources/published.csv).

Read with the standard library alone, since the workflow needs the papers' keys before it creates
any environment.
"""

import csv
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, fields
from pathlib import Path
from typing import NamedTuple

from ..errors import UserError

BENCHMARKS = (("GLUE test", "average", "score"), ("SQuAD development", "SQuAD v1.1", "F1"))
"""Suite, dataset and metric by which whole models of papers are shown, the first one first."""
NUMBERS = ("parameters", "ratio", "value")


@dataclass(frozen=True)
class Published:
    """One cell of a paper's table; all fields are text as printed there, "" if unknown."""

    paper: str
    """The method's `citation`, which is also the key in references.bib."""
    table: str
    """The table of the paper, or its abstract."""
    suite: str
    """What that table measures."""
    model: str
    """The row."""
    base: str
    """The model that was compressed."""
    protocol: str
    parameters: str
    """Millions."""
    ratio: str
    ratio_of: str
    """The part that the ratio covers: embedding or model."""
    dataset: str
    metric: str
    value: str
    """Empty where the paper reports a measurement whose number has no known source."""
    evidence: str
    """text (of the paper), abstract or code."""
    source: str
    note: str
    """A remark for readers of this number."""


def read_published(path: Path) -> dict[str, list[Published]]:
    """The cells of each paper, in the file's order.

    Raises:
        UserError: if columns are missing or unknown, a number is malformed, or a cell has no paper
            or no source.
    """
    names = [f.name for f in fields(Published)]
    papers: dict[str, list[Published]] = {}
    with path.open(encoding="utf-8", newline="") as file:
        rows = csv.DictReader(file)
        if rows.fieldnames != names:
            raise UserError(
                f"{path} has columns {rows.fieldnames}, but must have {', '.join(names)}"
            )
        for line, row in enumerate(rows, start=2):
            cell = _checked(row, f"{path}, line {line}")
            papers.setdefault(cell.paper, []).append(cell)
    return papers


class PublishedModel(NamedTuple):
    """A whole model of a paper."""

    name: str
    base: str
    """The model that was compressed, of which 100 % are kept."""
    ratio: float
    """Bits, or parameters where only these are known, of the base / of the model."""
    retention: float
    """Score / score of the base, in %: of GLUE's test average, else of SQuAD v1.1's F1."""


def published_models(papers: Mapping[str, Sequence[Published]]) -> list[PublishedModel]:
    """Distilled whole models whose ratio and score the papers give, beside their base's score."""
    cells = [cell for paper in papers.values() for cell in paper if cell.value]
    ratios = _model_ratios(cells)
    models: dict[str, PublishedModel] = {}
    for benchmark in BENCHMARKS:
        own = {c.model: c for c in cells if (c.suite, c.dataset, c.metric) == benchmark}
        for cell in own.values():
            is_known = cell.model in ratios and cell.base in own and cell.model not in models
            if is_known and cell.protocol == "distilled":
                retention = 100 * float(cell.value) / float(own[cell.base].value)
                ratio = ratios[cell.model]
                models[cell.model] = PublishedModel(cell.model, cell.base, ratio, retention)
    return list(models.values())


def _model_ratios(cells: Sequence[Published]) -> dict[str, float]:
    """Ratios of whole models by name, from parameters where the papers give no ratio."""
    parameters = {c.model: float(c.parameters) for c in cells if c.parameters}
    ratios = {
        c.model: parameters[c.base] / parameters[c.model]
        for c in cells
        if c.model in parameters and c.base in parameters and c.model != c.base
    }
    return ratios | {c.model: float(c.ratio) for c in cells if c.ratio and c.ratio_of == "model"}


def _checked(row: dict[str, str], where: str) -> Published:
    """One line of the file."""
    if None in row or None in row.values():
        raise UserError(
            f"{where} has more or fewer cells than the header: quote cells that contain commas"
        )
    for name in NUMBERS:
        try:
            float(row[name] or 0)
        except ValueError:
            raise UserError(
                f"{where}: {name} {row[name]!r} is not a number; leave it empty if it is unknown"
            ) from None
    if not row["paper"] or not row["source"]:
        raise UserError(f"{where} has no paper or no source: add it, or remove the line")
    return Published(**row)
