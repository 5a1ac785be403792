"""Numbers that papers published, as far as a source for them was found:
workflow/resources/published.csv.

Read with the standard library alone, as the workflow asks for the papers before any environment is
made.
"""

import csv
from dataclasses import dataclass, fields
from pathlib import Path

from ..errors import UserError

NUMBERS = ("parameters", "ratio", "value")


@dataclass(frozen=True)
class Published:
    """One cell of a paper's table.

    All fields are text as printed there; "" is what is not known.
    """

    paper: str
    """The method's `citation`, which is also the key in references.bib."""
    table: str
    """Where the number stands: a table, or the abstract."""
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
    """What the ratio is of: embedding or model."""
    dataset: str
    metric: str
    value: str
    """Empty where the paper measured something but no source for the number was found."""
    evidence: str
    """text (of the paper), abstract or code."""
    source: str
    note: str
    """What a reader must know of this number."""


def read_published(path: Path) -> dict[str, list[Published]]:
    """The cells of each paper, in the file's order.

    Raises:
        UserError: if columns are missing or unknown, a number is none, or a cell has no paper or no
            source.
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
        raise UserError(f"{where} has more or fewer cells than the header: quote what holds commas")
    for name in NUMBERS:
        try:
            float(row[name] or 0)
        except ValueError:
            raise UserError(
                f"{where}: {name} {row[name]!r} is no number; leave it empty where it is not known"
            ) from None
    if not row["paper"] or not row["source"]:
        raise UserError(f"{where} names no paper or no source: a number without one is not quoted")
    return Published(**row)
