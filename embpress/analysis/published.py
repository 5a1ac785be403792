"""Numbers that papers published and whose source is known (workflow/resources/published.csv).

Read with the standard library alone, since the workflow needs the papers' keys before it creates
any environment.
"""

import csv
from dataclasses import dataclass, fields
from pathlib import Path

from ..errors import UserError

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
