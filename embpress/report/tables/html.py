"""Tables as HTML whose columns can be sorted."""

from collections.abc import Iterable
from html import escape

from .table import DASH, Cell, Column, Table

NO_VALUE = "–"


def to_html(table: Table) -> str:
    """The notes, the table with one head a column, and the footnotes.

    Sections become columns of their own, so that all rows can be sorted together. Details stand in
    small print below the value that they belong to.
    """
    shown = [i for i, c in enumerate(table.columns) if "html" in c.formats and not c.detail]
    details = {
        i: [j for j, c in enumerate(table.columns) if c.detail and j + c.detail == i] for i in shown
    }
    rows = [(section.keys, row) for section in table.sections for row in section.rows]
    key_columns = [
        Column(
            head, align="number" if any(keys[i].sort is not None for keys, _ in rows) else "left"
        )
        for i, head in enumerate(table.keys)
    ]
    heads = [_head(column, ()) for column in key_columns]
    heads += [_head(table.columns[i], [table.columns[j] for j in details[i]]) for i in shown]
    body = []
    for keys, row in rows:
        cells = [_cell(key, column, ()) for key, column in zip(keys, key_columns)]
        for i in shown:
            tag = "th" if i == 0 else "td"
            cells.append(_cell(row[i], table.columns[i], [row[j] for j in details[i]], tag))
        body.append(f"<tr>{''.join(cells)}</tr>")
    about = " ".join([*([f"Bold: {table.bold}."] if table.bold else []), *table.notes])
    legend = " ".join(f"<sup>{escape(m)}</sup>&nbsp;{escape(s)}" for m, s in table.legend())
    key = escape(table.key)
    return "\n".join(
        [
            f'<p class="note" id="about-{key}">{escape(about)}</p>',
            f'<div class="scroll" role="region" tabindex="0" aria-label="{escape(table.title)}">',
            f'<table id="table-{key}" aria-describedby="about-{key}">',
            f"<thead><tr>{''.join(heads)}</tr></thead>",
            "<tbody>",
            *body,
            "</tbody>",
            "</table>",
            "</div>",
            *([f'<p class="note">{legend}</p>'] if legend else []),
        ]
    )


def _head(column: Column, details: Iterable[Column]) -> str:
    """A head that sorts on click: the group above, the column's own head and its details' below."""
    own = [column.head.replace("\n", ", "), *(detail.head for detail in details)]
    first, *small = [*column.group[:1], *own]
    below = f"<small>{escape('; '.join(small))}</small>" if small else ""
    attribute = "" if column.align == "left" else ' class="n"'
    button = f'<button type="button">{escape(first)}{below}</button>'
    return f'<th scope="col"{attribute}>{button}</th>'


def _cell(cell: Cell, column: Column, details: Iterable[Cell], tag: str = "td") -> str:
    """A cell with its marks, and its details in small print."""
    attributes = ' scope="row"' if tag == "th" else ""
    attributes += "" if column.align == "left" else ' class="n"'
    attributes += "" if cell.sort is None else f' data-v="{cell.sort:.12g}"'
    small = "".join(f"<small>{_words(detail)}</small>" for detail in details if detail.text != DASH)
    return f"<{tag}{attributes}>{_words(cell)}{small}</{tag}>"


def _words(cell: Cell) -> str:
    """The text of a cell, escaped, with its marks."""
    text = escape(NO_VALUE if cell.text == DASH else cell.text.replace("--", "–"))
    text = f"<strong>{text}</strong>" if cell.bold else text
    return text + (f"<sup>{escape(','.join(cell.marks))}</sup>" if cell.marks else "")
