"""Tables as LaTeX (booktabs, longtable and siunitx)."""

import re
import textwrap
from collections.abc import Iterable, Sequence
from itertools import groupby

from .table import DASH, Cell, Column, Section, Table

BREAK = r"\\"
FOOTNOTESIZE = 88
"""Characters in a row up to which a table fits a page of 6.3 in at \\footnotesize.

Wider tables are set in \\scriptsize.
"""
MANY_COLUMNS = 12
"""Number of columns from which heads are set in \\tiny."""
LONG_TITLE = 90
"""Characters of a section's title from which it is wrapped."""
SPECIAL = {
    "\\": r"\textbackslash{}",
    "~": r"\textasciitilde{}",
    "^": r"\textasciicircum{}",
    "<": "$<$",
    ">": "$>$",
    "|": "$|$",
    "×": r"$\times$",
    "ρ": r"$\rho$",
    "τ": r"$\tau$",
    "µ": r"$\mu$",
    "†": r"$\dagger$",
    "‡": r"$\ddagger$",
    "→": r"$\to$",
    "↑": r"$\uparrow$",
    "↓": r"$\downarrow$",
    "\u00a0": r"\,",
}
PREAMBLE = (
    "\\documentclass[10pt]{article}\n"
    "\\usepackage[a4paper,textwidth=6.3in,textheight=9.7in]{geometry}\n"
    "\\usepackage{array,booktabs,longtable,siunitx}\n"
    "\\sisetup{detect-weight=true}\n"
)
"""What a document needs to contain these tables."""
NUMBER = re.compile(r"(-?)(\d+)(?:\.(\d+))?(?:\((\d+)\))?")
"""A number that siunitx reads, with a standard deviation in parentheses."""


def escape(text: str) -> str:
    """Escape plain text for LaTeX."""
    special = re.escape("".join(SPECIAL)) + "&%$#_{}"
    return re.sub(f"[{special}]", lambda m: SPECIAL.get(m[0], "\\" + m[0]), text)


def to_latex(*tables: Table) -> str:
    """Tables one below the other, then their notes in small print.

    Several tables that are not long are set in the smaller size, as together they fill a page.
    """
    parts = [_body(table, small=len(tables) > 1) for table in tables]
    lines = [f"Bold: {table.bold}." for table in tables if table.bold][:1]
    lines += [escape(note) for table in tables for note in table.notes]
    legend = dict.fromkeys(entry for table in tables for entry in table.legend())
    lines += [rf"{_superscript([mark])}\,{escape(sentence)}" for mark, sentence in legend]
    return (
        "\\par\\medskip\n".join(parts)
        + "\\par\\smallskip\n{\\scriptsize\\raggedright\n"
        + "\n".join(lines)
        + "\n\\par}\n"
    )


def latex_document(tables: Iterable[str]) -> str:
    """A document of LaTeX tables, one a page, to look at them and to test that they compile."""
    # A longtable breaks over pages and must not stand in a float.
    floats = [
        t if "longtable" in t else f"\\begin{{table}}\\centering\n{t}\\end{{table}}" for t in tables
    ]
    pages = "\n\\clearpage\n".join(floats)
    return f"{PREAMBLE}\\begin{{document}}\n{pages}\n\\end{{document}}\n"


def _body(table: Table, small: bool) -> str:
    """The table between its rules."""
    kept = [
        i
        for i, column in enumerate(table.columns)
        if "latex" in column.formats and not (column.detail and table.details != "columns")
    ]
    columns = [table.columns[i] for i in kept]
    rows = [[row[i] for i in kept] for row in table.rows()]
    texts = [[row[j].text for row in rows if not row[j].missing] for j in range(len(kept))]
    spec = "@{}" + "".join(map(_column_type, columns, texts)) + "@{}"
    lines = [
        line for section in table.sections for line in _section_lines(section, table, columns, kept)
    ]
    header = _header(columns)
    if table.long:
        head = [r"\toprule", header, r"\endhead", r"\bottomrule", r"\endfoot"]
        body = [rf"\begin{{longtable}}{{{spec}}}", *head, *lines, r"\end{longtable}"]
        size = r"\setlength{\tabcolsep}{5pt}\scriptsize%"
        return "\n".join([r"\begingroup" + size, *body, r"\endgroup", ""])
    width = sum(max(map(_width, column), default=0) for column in zip(*rows))
    if table.details == "below":
        # Set in \\tiny, below narrower numbers.
        width += 3 * sum(column.detail != 0 for column in table.columns)
    gap, size = ("1.8pt", "footnotesize")
    if small or width > FOOTNOTESIZE:
        # Intervals below the numbers leave no room for gaps.
        gap, size = ("0.5pt" if table.details == "below" else "1.3pt", "scriptsize")
    body = [
        rf"\begin{{tabular}}{{{spec}}}",
        r"\toprule",
        header,
        *lines,
        r"\bottomrule",
        r"\end{tabular}",
    ]
    begin = rf"\begingroup\setlength{{\tabcolsep}}{{{gap}}}\{size}%"
    return "\n".join([begin, *body, r"\par\endgroup", ""])


def _section_lines(
    section: Section, table: Table, columns: list[Column], kept: list[int]
) -> list[str]:
    """A rule, the title over all columns, and the rows."""
    lines = [] if section.level else [r"\midrule"]
    # The star keeps the title on the page of its first row.
    end = r" \\*" if table.long else r" \\"
    if section.title:
        title = ("\\quad " if section.level else "") + rf"\itshape {escape(section.title)}"
        kind = "l" if len(section.title) < LONG_TITLE else r"p{6.2in}@{}"
        title = title if kind == "l" else rf"\raggedright\hangindent=2em {title}"
        lines.append(rf"\multicolumn{{{len(columns)}}}{{@{{}}{kind}}}{{{title}}}{end}")
    for i, row in enumerate(section.rows):
        cells = _row_cells([row[j] for j in kept], columns)
        if table.details != "below":
            lines.append(" & ".join(cells) + r" \\")
            continue
        lines += [r"\addlinespace[1pt]"] if i else []
        lines.append(" & ".join(cells) + r" \\[-2pt]")
        lines.append(" & ".join(_small_print(row, table.columns, j) for j in kept) + r" \\")
    return lines


def _small_print(row: list[Cell], columns: list[Column], position: int) -> str:
    """The detail of one column, for a second line of its row."""
    details = [
        c for i, c in enumerate(row) if columns[i].detail and i + columns[i].detail == position
    ]
    return rf"{{\tiny {_plain(details[0].text)}}}" if details and details[0].text != DASH else ""


def _row_cells(row: list[Cell], columns: list[Column]) -> list[str]:
    """The cells of a row; adjacent missing ones of one group are merged."""
    shown = []
    kinds = [(cell.missing, column.group) for cell, column in zip(row, columns)]
    for (missing, _), group in groupby(range(len(row)), key=lambda i: kinds[i]):
        positions = list(group)
        if not missing:
            shown += [_cell(row[i], columns[i]) for i in positions]
            continue
        words = row[positions[0]].text
        words = words if len(positions) > 1 else rf"\shortstack{{{words.replace(' ', BREAK)}}}"
        shown.append(rf"\multicolumn{{{len(positions)}}}{{c}}{{\tiny {words}}}")
    return shown


def _cell(cell: Cell, column: Column) -> str:
    """One cell; in a column of numbers, braces protect what siunitx cannot read as a number."""
    strong = r"\bfseries " if cell.bold else ""
    if column.align == "number" and NUMBER.fullmatch(cell.text) and not cell.marks:
        return strong + cell.text
    text = _plain(cell.text) if column.align == "number" else escape(cell.text)
    strong = r"\boldmath" + strong if cell.bold and "$" in text else strong
    text = strong + text + _superscript(cell.marks)
    if column.align == "number":
        return f"{{{text}}}"
    return rf"{{{text}}}" if cell.bold else text


def _plain(text: str) -> str:
    """A number or an interval in mathematical signs; other text escaped."""
    if text == DASH:
        return text
    ends = text.strip("[]").split(", ")
    if not all(re.fullmatch(r"-?(inf|[\d.]+(e-?\d+)?)", end) for end in ends):
        return escape(text)
    ends = [re.sub(r"e(-?\d+)", r"{\\cdot}10^{\1}", e).replace("inf", r"\infty") for e in ends]
    inner = r",\,".join(ends)
    return f"$[{inner}]$" if text.startswith("[") else f"${inner}$"


def _superscript(marks: Sequence[str]) -> str:
    """Raised symbols and letters."""
    return rf"\textsuperscript{{{','.join(map(escape, marks))}}}" if marks else ""


def _column_type(column: Column, texts: list[str]) -> str:
    """The type of a column: for numbers the S column that is just wide enough."""
    if column.inches:
        return rf">{{\raggedright\arraybackslash}}p{{{column.inches}in}}"
    if column.align != "number":
        return column.align[0]
    numbers = [match for text in texts if (match := NUMBER.fullmatch(text))]
    if not numbers:
        return "c"
    whole, decimals, sd = (max(len(m[i] or "") for m in numbers) for i in (2, 3, 4))
    sign = "-" if any(m[1] for m in numbers) else ""
    return f"S[table-format={sign}{whole}.{decimals}{f'({sd})' if sd else ''}]"


def _header(columns: list[Column]) -> str:
    """Rows of group heads with rules below them, then the columns' own heads."""
    groups = [
        (group, len(list(members)))
        for group, members in groupby(column.group for column in columns)
    ]
    lines = []
    for level in range(max(len(group) for group, _ in groups)):
        cells = []
        for group, n in groups:
            if not group:
                cells += [""] * n
                continue
            size = r"\scriptsize " if level else ""
            cells.append(rf"\multicolumn{{{n}}}{{c}}{{{size}{_stacked(group[level], 8 * n)}}}")
        lines.append(" & ".join(cells) + r" \\")
    position = 1
    rules = ""
    for group, n in groups:
        rules += rf"\cmidrule(lr){{{position}-{position + n - 1}}}" if group else ""
        position += n
    size = r"\tiny" if len(columns) > MANY_COLUMNS else r"\scriptsize"
    heads = [rf"{{{size} {_stacked(c.head, c.width)}}}" if c.head else "" for c in columns[1:]]
    lines += [rules] if rules else []
    return "\n".join([*lines, " & ".join([escape(columns[0].head), *heads]) + r" \\"])


def _stacked(text: str, width: int) -> str:
    """Text in short lines above each other, so that a long head does not widen its column."""
    lines = [
        # A number of examples is set without the wide spaces around a relation.
        re.sub(r"\bn=(\d+)", r"$n{=}\1$", escape(line))
        for part in text.split("\n")
        for line in textwrap.wrap(part, width, break_long_words=False)
    ]
    return rf"\shortstack{{{BREAK.join(lines)}}}" if len(lines) > 1 else "".join(lines)


def _width(cell: Cell) -> int:
    """Characters of a cell, with the gap after it."""
    return len(cell.text) + len(cell.marks) + 1
