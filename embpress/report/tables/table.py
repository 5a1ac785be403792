"""A table as data: typed columns and cells, sections and notes, independent of how it is printed.

One function builds each table; `to_latex`, `to_text` and `to_html` print any of them.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Literal

DASH = "--"
"""Text of a cell without a value."""
DAGGER = "†"
DOUBLE_DAGGER = "‡"
MARKS = {
    DAGGER: "Reconstruction: the paper's full text was not available.",
    DOUBLE_DAGGER: "Compresses other matrices besides the embedding; its ratios cover all of them.",
}
"""What the symbols after a label mean. Printed below each table that contains them."""
NO_BREAK = "\u00a0"

Format = Literal["latex", "text", "html"]
ALL: tuple[Format, ...] = ("latex", "text", "html")


@dataclass
class Notes:
    """Footnotes of one table: a letter for each sentence, the same letter for the same sentence."""

    sentences: list[str] = field(default_factory=list)

    def mark(self, sentence: str) -> str:
        """The letter of a sentence: a, b, ..., z, aa, ..."""
        sentence = sentence.rstrip(".") + "."
        if sentence not in self.sentences:
            self.sentences.append(sentence)
        number = self.sentences.index(sentence) + 1
        letters = ""
        while number:
            number, digit = divmod(number - 1, 26)
            letters = chr(ord("a") + digit) + letters
        return letters

    def lines(self) -> list[tuple[str, str]]:
        """All letters with their sentences, in order."""
        return [(self.mark(sentence), sentence) for sentence in self.sentences]


@dataclass(frozen=True)
class Cell:
    """One cell."""

    text: str = ""
    sort: float | None = None
    """The number by which the HTML page sorts; None for words and missing values."""
    bold: bool = False
    marks: tuple[str, ...] = ()
    """Letters of footnotes, and symbols of `MARKS`."""
    missing: bool = False
    """Whether a paper measured this without a known value: adjacent ones are merged in LaTeX."""


@dataclass(frozen=True)
class Column:
    """The head of a column, how it is aligned, and where it is shown."""

    head: str
    """Plain text; a line break starts a line of its own."""
    group: tuple[str, ...] = ()
    """Heads above this one, the outermost first. Adjacent columns of the same group share them."""
    align: Literal["number", "right", "left"] = "number"
    short: str = ""
    """Head in the terminal, where `head` is too long."""
    detail: Literal[-1, 0, 1] = 0
    """-1: small print of the column before this one; 1: of the column after it."""
    width: int = 10
    """Characters in a line of the head."""
    inches: float | None = None
    """Width in LaTeX of a column whose text is wrapped."""
    formats: tuple[Format, ...] = ALL


@dataclass(frozen=True)
class Section:
    """Consecutive rows below a common title."""

    title: str
    rows: list[list[Cell]]
    keys: tuple[Cell, ...] = ()
    """The content of the title, one cell per key of the table: columns of the HTML table."""
    level: int = 0
    """1: a subsection of the section before it."""


@dataclass(frozen=True)
class Table:
    """A table; the first column holds the labels of the rows."""

    key: str
    title: str
    columns: list[Column]
    sections: list[Section]
    notes: list[str] = field(default_factory=list)
    """Sentences about the whole table."""
    footnotes: Notes = field(default_factory=Notes)
    keys: tuple[str, ...] = ()
    """Heads of the sections' keys."""
    bold: str = ""
    """What bold cells are."""
    long: bool = False
    """Whether it may fill several pages."""
    details: Literal["columns", "below", "hidden"] = "columns"
    """How LaTeX shows detail columns. In the terminal those of "below" are never left out."""
    fixed: int = 1
    """Number of leading columns that are repeated where the terminal shows a table in parts."""

    def rows(self) -> list[list[Cell]]:
        """The rows of all sections."""
        return [row for section in self.sections for row in section.rows]

    def legend(self) -> list[tuple[str, str]]:
        """Symbols and letters that occur in the table, each with its sentence."""
        used = {mark for row in self.rows() for cell in row for mark in cell.marks}
        return [(m, s) for m, s in MARKS.items() if m in used] + self.footnotes.lines()


def number(value: float, decimals: int = 1, sd: float = math.nan) -> str:
    """Format a number: 12.3, 12.3(4) with a standard deviation, 1.2e4 from 9999.5, or a dash."""
    if math.isnan(value):
        return DASH
    if math.isinf(value):
        return "inf"
    if abs(value) >= 9999.5:
        return f"{value:.1e}".replace("e+0", "e").replace("e+", "e")
    decimals = 0 if abs(value) >= 1000 else decimals
    # Adding zero turns -0.0 into 0.0.
    shown = f"{round(value, decimals) + 0.0:.{decimals}f}"
    return shown + ("" if math.isnan(sd) else f"({sd * 10**decimals:.0f})")


def number_cell(value: float, decimals: int = 1, sd: float = math.nan) -> Cell:
    """A cell with a number, sorted by its value."""
    return Cell(number(value, decimals, sd), None if math.isnan(value) else float(value))


def ratio_cell(value: float) -> Cell:
    """A target ratio as it is written in a config; a dash for what has none."""
    return Cell(DASH) if math.isnan(value) else Cell(f"{value:g}", float(value))


def interval_cell(low: float, high: float, decimals: int = 1) -> Cell:
    """A cell with an interval, sorted by its lower end."""
    if math.isnan(low):
        return Cell(DASH)
    return Cell(f"[{number(low, decimals)}, {number(high, decimals)}]", float(low))


def dash_cell(note: str, notes: Notes) -> Cell:
    """A dash with the footnote that says why there is no value."""
    return Cell(DASH, marks=(notes.mark(note),))


def span(low: float, high: float) -> str:
    """A range, or one number where both ends round to the same."""
    low_text = number(low)
    high_text = number(high)
    return low_text if low_text == high_text else f"{low_text}--{high_text}"


def text_columns(*heads: str) -> list[Column]:
    """Columns of words."""
    return [Column(head, align="left") for head in heads]


def flat_table(
    key: str, title: str, columns: Sequence[Column], rows: list[list[Cell]], *notes: str
) -> Table:
    """A table without sections."""
    return Table(key, title, list(columns), [Section("", rows)], list(notes))
