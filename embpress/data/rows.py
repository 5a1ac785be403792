"""Read rows with their line numbers from CSV, TSV, JSON lines (plain or bz2) and SQuAD's JSON.

TSV is read as the benchmarks write it: quotes are part of the text, and a value contains no tab or
line end. CSV may be quoted.
"""

import bz2
import csv
import difflib
import io
import itertools
import json
import re
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, NamedTuple

from ..errors import UserError
from . import packages, squad

SURROGATE = re.compile("[\ud800-\udfff]")
"""Half of a surrogate pair, which JSON can contain, but no tokenizer can read."""


class TableFormat(NamedTuple):
    """How to read a file, from a task's `data` entry."""

    format: str
    """csv, tsv, jsonl or squad."""
    columns: list[str] | None
    """Columns of a CSV or TSV file that has no header."""
    quoted: bool
    """Whether a TSV file has quoted values, as a spreadsheet writes them."""
    short_rows: str | None
    """`skip` to leave out rows that end too early."""
    label: str | None
    """The label's column."""


class Row(NamedTuple):
    """One row of a table."""

    line: int | str
    """Its line in the file, from 1, or its id."""
    values: dict[str, str | None]
    """Values by column; None where the row has none."""


class Table(NamedTuple):
    """The rows of a file."""

    name: str
    """The file's name in errors."""
    rows: list[Row]
    unit: str = "line"
    """What the `line` of a row counts or names, in errors."""

    def place(self, row: Row) -> str:
        """File and line of a row, for errors."""
        return f"{self.name}, {self.unit} {row.line}"


def table_format(data: Mapping[str, Any]) -> TableFormat:
    """The keys of a task's `data` entry that say how to read a file."""
    return TableFormat(
        data["format"],
        data.get("columns"),
        data.get("quoted", False),
        data.get("short_rows"),
        data.get("label"),
    )


def read_table(data: Mapping[str, Any], name: str, content: bytes, columns: list[str]) -> Table:
    """Read some columns of all rows of a file.

    Args:
        data: a task's `data` entry, with the keys of TableFormat.
        name: the file's name, for errors; if it ends in .bz2, the content is decompressed.
        content: the file's bytes: UTF-8, with or without a byte order mark.
        columns: columns to read.

    Raises:
        UserError: with the line, if the file is not of its format, lacks a column, or a row ends
            before a column.
    """
    text = _decode(content, name)
    table = table_format(data)
    if table.format == "squad":
        _check_columns(list(squad.SQUAD_COLUMNS), columns, f"{name}, as SQuAD's JSON", table)
        questions = squad.questions(text, name)
        rows = [Row(row["id"], {c: row[c] for c in columns}) for row in questions]
        return Table(name, rows, "question")
    read_format = _json_rows if table.format == "jsonl" else _delimited_rows
    return Table(name, list(read_format(text, name, columns, table)))


def read_rows(
    data: Mapping[str, Any], wheels: dict[str, Path], columns: list[str]
) -> list[dict[str, str]]:
    """Read the rows of `data.path` in which no column is empty.

    Raises:
        UserError: as `read_table`, and if the file is missing.
    """
    content = read_content(data, data["path"], wheels)
    rows = (row.values for row in read_table(data, data["path"], content, columns).rows)
    return [{c: str(row[c]) for c in columns} for row in rows if all(row[c] for c in columns)]


def read_content(data: Mapping[str, Any], path: str, wheels: dict[str, Path]) -> bytes:
    """Read the bytes of a file in the wheel of `data.package`, or on disk.

    Raises:
        UserError: if it is missing.
    """
    if "package" in data:
        return packages.read(wheels[data["package"]], path)
    try:
        return Path(path).read_bytes()
    except OSError as error:
        raise UserError(
            f"{path} cannot be read ({error.strerror or error}): check the path in the task's "
            "`data`"
        ) from error


def _decode(content: bytes, name: str) -> str:
    """Decompress and decode the content of a file, without its byte order mark."""
    try:
        raw = bz2.decompress(content) if name.endswith(".bz2") else content
    except (OSError, ValueError) as error:
        raise UserError(
            f"{name} is not a complete bz2 file ({error}): copy or download it again"
        ) from error
    try:
        return raw.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        line = raw.count(b"\n", 0, error.start) + 1
        raise UserError(
            f"{name}, line {line}: not UTF-8 ({error.reason}): convert the file"
        ) from error


def _json_rows(text: str, name: str, columns: list[str], table: TableFormat) -> Iterator[Row]:
    """Rows of JSON lines: numbers become their JSON text, null and missing keys None."""
    known: dict[str, None] = {}
    # str.splitlines() would also split at U+2028, which JSON strings may contain.
    for i, line in enumerate(text.split("\n"), start=1):
        if not line.strip():
            continue
        try:
            row = json.loads(line)
        except (ValueError, RecursionError) as error:
            raise UserError(f"{name}, line {i}: not JSON ({error}): check `data.format`") from error
        if not isinstance(row, dict):
            raise UserError(
                f"{name}, line {i}: not a JSON object: JSON lines have an object with a key per "
                "column"
            )
        known |= dict.fromkeys(row)
        # A row may lack a column that others have: an unlabelled one has no label.
        if not known.keys() >= set(columns):
            _check_columns(list(known), columns, f"{name}, line {i}", table)
        values = {column: row.get(column) for column in columns}
        for column, value in values.items():
            if isinstance(value, str) and SURROGATE.search(value):
                raise UserError(
                    f"{name}, line {i}: column {column!r} has half a surrogate pair: write whole "
                    "characters"
                )
            if value is not None and not isinstance(value, str):
                values[column] = json.dumps(value)
        yield Row(i, values)


def _delimited_rows(text: str, name: str, columns: list[str], table: TableFormat) -> Iterator[Row]:
    """Rows of CSV or TSV; with `data.columns`, further fields of a row are ignored."""
    lines = _fields(text, name, table)
    first_line, first = next(lines, (1, []))
    if not first:
        return
    # A copy of a file may have the header that the original lacks, as GLUE's STS-B has.
    has_header = table.columns is None or any(column in first for column in columns)
    header = first if has_header else table.columns or []
    where = f"{name}, line {first_line}" if has_header else f"{name}, by `data.columns`"
    _check_columns(header, columns, where, table)
    positions = {column: header.index(column) for column in columns}
    for line, fields in lines if has_header else itertools.chain([(first_line, first)], lines):
        if len(fields) > len(header) and has_header:
            raise UserError(
                f"{name}, line {line}: {len(fields)} columns, but the header has {len(header)}: "
                "correct the line"
            )
        missing = [c for c, position in positions.items() if position >= len(fields)]
        if missing and table.short_rows == "skip":
            continue
        if missing:
            raise UserError(
                f"{name}, line {line}: {len(fields)} columns, but {missing[0]!r} is column "
                f"{positions[missing[0]] + 1}: correct the line"
            )
        yield Row(line, {column: fields[position] for column, position in positions.items()})


def _fields(text: str, name: str, table: TableFormat) -> Iterator[tuple[int, list[str]]]:
    """Line and fields of each row that is not empty."""
    if table.format == "tsv" and not table.quoted:
        for i, raw in enumerate(text.split("\n"), start=1):
            if raw.strip("\r"):
                yield i, raw.removesuffix("\r").split("\t")
        return
    reader = csv.reader(
        io.StringIO(text, newline=""),
        delimiter="\t" if table.format == "tsv" else ",",
        strict=True,
    )
    line = 1
    try:
        for fields in reader:
            if fields:
                yield line, fields
            line = reader.line_num + 1
    except csv.Error as error:
        raise UserError(
            f"{name}, line {line}: not {table.format} ({error}): check quotes and `data.format`"
        ) from error


def _check_columns(header: list[str], columns: list[str], where: str, table: TableFormat) -> None:
    """Check that a header has every column once.

    Raises:
        UserError: with the first missing or duplicate column.
    """
    for column in columns:
        if header.count(column) > 1:
            raise UserError(f"{where}: duplicate column {column!r}: rename one")
        if column not in header:
            close = difflib.get_close_matches(column, header, n=1)
            hint = f"; did you mean {close[0]!r}?" if close else ""
            if column == table.label and not close:
                hint = "; if the split has no labels, name one that has"
            raise UserError(
                f"{where}: no column {column!r}; there are {', '.join(map(repr, header))}{hint}"
            )
