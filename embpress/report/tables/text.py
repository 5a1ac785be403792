"""Tables as plain text for the terminal."""

import textwrap

from .table import Cell, Column, Section, Table

INDENT = "  "


def to_text(table: Table, width: int = 120) -> str:
    """The table in lines of at most `width` characters where its columns allow it.

    Detail columns are left out where they do not fit. Where even that is too wide, groups of
    columns stand below each other, each with the leading columns.
    """
    shown = [i for i, column in enumerate(table.columns) if "text" in column.formats]
    plain = [i for i in shown if not table.columns[i].detail]
    choices = [shown] if table.details == "below" else [shown, plain]
    for chosen in choices:
        lines = _lines(table, chosen, width)
        if max(map(len, lines)) <= width:
            break
    else:
        lines = _parts(table, choices[-1], width)
    notes = [f"*: {table.bold}."] if table.bold else []
    notes += [*table.notes, *(f"{_mark(mark)} {sentence}" for mark, sentence in table.legend())]
    small = [line for note in notes for line in textwrap.wrap(note, width)]
    return "\n".join([*lines, "", *small]) + "\n"


def _parts(table: Table, shown: list[int], width: int) -> list[str]:
    """The table in as few parts as fit, of about as many groups of columns each."""
    fixed = [i for i in shown if i < table.fixed]
    groups: list[list[int]] = []
    for before, i in zip([-1, *shown], shown):
        if i < table.fixed:
            continue
        if groups and _belong_together(table.columns[before], table.columns[i]):
            groups[-1].append(i)
        else:
            groups.append([i])
    lines: list[str] = []
    for n_parts in range(2, len(groups) + 1):
        step = -(-len(groups) // n_parts)
        lines = []
        for start in range(0, len(groups), step):
            chosen = [i for group in groups[start : start + step] for i in group]
            lines += ["", *_lines(table, [*fixed, *chosen], width)]
        if max(map(len, lines)) <= width:
            break
    return lines[1:] if lines else _lines(table, shown, width)


def _belong_together(before: Column, column: Column) -> bool:
    """Whether two adjacent columns must stand in the same part."""
    same_group = bool(column.group) and column.group == before.group
    return same_group or column.detail == -1 or before.detail == 1


def _lines(table: Table, shown: list[int], width: int) -> list[str]:
    """Heads, titles of sections and rows, padded."""
    heads = [_head(table.columns, i, shown).split("\n") for i in shown]
    n_lines = max(map(len, heads))
    # Heads end above the numbers, which may be followed by a star.
    grid = [[head[j] if j < len(head) else "" for head in heads] for j in range(n_lines)]
    body = [
        [_text(row[i], table.columns[i], bool(table.bold)) for i in shown] for row in table.rows()
    ]
    widths = [max(map(len, column)) for column in zip(*grid, *body)]
    left = [i == 0 or table.columns[i].align == "left" for i in shown]
    indent = INDENT if table.long else ""

    def padded(cells: list[str]) -> str:
        texts = [
            c.ljust(w) if is_left else c.rjust(w) for c, w, is_left in zip(cells, widths, left)
        ]
        return (indent + " ".join(texts)).rstrip()

    lines = [padded(row) for row in grid]
    position = 0
    for section in table.sections:
        lines += _title(section, table.long, width)
        end = position + len(section.rows)
        lines += [padded(row) for row in body[position:end]]
        position = end
    return lines


def _title(section: Section, long: bool, width: int) -> list[str]:
    """The lines of a section's title, below an empty line in long tables."""
    if not section.title:
        return []
    first = INDENT * section.level
    lines = textwrap.wrap(
        section.title, width, initial_indent=first, subsequent_indent=first + INDENT
    )
    return lines if section.level or not long else ["", *lines]


def _head(columns: list[Column], position: int, shown: list[int]) -> str:
    """The head of a column, or that of the detail before it where this is left out."""
    column = columns[position]
    before = columns[position - 1]
    if before.detail == 1 and position - 1 not in shown:
        column = before
    return column.short or column.head


def _text(cell: Cell, column: Column, starred: bool) -> str:
    """One cell; a bold number is followed by a star."""
    text = cell.text + "".join(_mark(mark) for mark in cell.marks)
    if column.align == "number" and starred and column.detail != -1:
        text += "*" if cell.bold else " "
    return text


def _mark(mark: str) -> str:
    """A letter after a caret; symbols as they are."""
    return f"^{mark}" if mark.isalpha() else mark
