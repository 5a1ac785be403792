"""Rows out of tables: CSV, TSV and JSON lines, plain or bz2, each with the line on which it stands;
and out of SQuAD's JSON.

TSV is read as the benchmarks write it: quotes are text, a tab or line end never stands within a
value. CSV is quoted.
"""

import bz2
import csv
import difflib
import io
import itertools
import json
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple

from ..errors import UserError
from . import packages, squad

HALF_CHARACTER = re.compile("[\ud800-\udfff]")
"""What JSON can write, but no tokenizer read."""


class Row(NamedTuple):
    """One row: its line in the file, counted from 1, or its id, and its values by column.

    None where it has none.
    """

    line: int | str
    values: dict[str, str | None]


class Table(NamedTuple):
    """A file's name as errors tell it, its rows, and what their `line` is."""

    name: str
    rows: list[Row]
    unit: str = "line"

    def place(self, row: Row) -> str:
        """Where a row stands, as errors tell it."""
        return f"{self.name}, {self.unit} {row.line}"


def read_table(data: dict[str, Any], name: str, content: bytes, wanted: list[str]) -> Table:
    """Rows of a file, of each only the wanted columns.

    Args:
        data: a task's `data` entry: `format` (csv, tsv, jsonl or squad), `columns` where csv or tsv
            have no header, `quoted` for a TSV that a spreadsheet wrote, `short_rows: skip` to leave
            out rows that end too early.
        name: the file's name, for errors; one that ends on .bz2 is decompressed.
        content: the file's bytes: UTF-8, with or without a byte order mark.
        wanted: columns to read.

    Raises:
        UserError: if the file is not of its format, lacks a wanted column, or a row ends before it;
            with the line.
    """
    text = _decode(content, name)
    if data["format"] == "squad":
        _check_columns(list(squad.COLUMNS), wanted, f"{name}, as SQuAD's JSON", data)
        found = [Row(row["id"], {c: row[c] for c in wanted}) for row in squad.questions(text, name)]
        return Table(name, found, "question")
    if data["format"] == "jsonl":
        rows = list(_json_rows(text, name, wanted, data))
    else:
        rows = list(_delimited_rows(text, name, wanted, data))
    return Table(name, rows)


def read_rows(
    data: dict[str, Any], wheels: dict[str, Path], columns: list[str]
) -> list[dict[str, str]]:
    """Rows of the file that a task's `data.path` names; rows that lack one of `columns` are left
    out.

    Raises:
        UserError: as `read_table`, and if the file is missing.
    """
    content = read_content(data, data["path"], wheels)
    rows = (row.values for row in read_table(data, data["path"], content, columns).rows)
    return [{c: str(row[c]) for c in columns} for row in rows if all(row[c] for c in columns)]


def read_content(data: dict[str, Any], path: str, wheels: dict[str, Path]) -> bytes:
    """Bytes of a file in the wheel of `data.package`, or on disk.

    Raises:
        UserError: if it is missing.
    """
    if "package" in data:
        return packages.read(wheels[data["package"]], path)
    try:
        return Path(path).read_bytes()
    except OSError as error:
        raise UserError(
            f"{path} cannot be read ({error.strerror or error}): check the path in the task's `data`"
        ) from error


def _decode(content: bytes, name: str) -> str:
    """Text of a file without its byte order mark."""
    try:
        raw = bz2.decompress(content) if name.endswith(".bz2") else content
    except (OSError, ValueError) as error:
        raise UserError(
            f"{name} is not a whole bz2 file ({error}): copy or download it again"
        ) from error
    try:
        return raw.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        line = raw.count(b"\n", 0, error.start) + 1
        raise UserError(
            f"{name}, line {line}: not UTF-8 ({error.reason}): convert the file"
        ) from error


def _json_rows(text: str, name: str, wanted: list[str], data: dict[str, Any]) -> Iterator[Row]:
    """Rows of JSON lines. Numbers come as their JSON text, null and absent keys as None."""
    known: dict[str, None] = {}
    for i, line in enumerate(
        text.split("\n"), start=1
    ):  # not splitlines(): JSON strings may hold U+2028
        if not line.strip():
            continue
        try:
            row = json.loads(line)
        except (ValueError, RecursionError) as error:
            raise UserError(
                f"{name}, line {i}: not JSON ({error}): is `data.format` right?"
            ) from error
        if not isinstance(row, dict):
            raise UserError(
                f"{name}, line {i}: not an object with a key a column, as JSON lines want it"
            )
        known |= dict.fromkeys(row)
        if not known.keys() >= set(
            wanted
        ):  # a row may lack what others have: an unlabelled one its label
            _check_columns(list(known), wanted, f"{name}, line {i}", data)
        values = {column: row.get(column) for column in wanted}
        for column, value in values.items():
            if isinstance(value, str) and HALF_CHARACTER.search(value):
                raise UserError(
                    f"{name}, line {i}: column {column!r} holds half a surrogate pair: write whole characters"
                )
        yield Row(
            i,
            {c: v if v is None or isinstance(v, str) else json.dumps(v) for c, v in values.items()},
        )


def _delimited_rows(text: str, name: str, wanted: list[str], data: dict[str, Any]) -> Iterator[Row]:
    """Rows of CSV or TSV. Where `columns` are given.

    Further fields of a row mean nothing and are left out.
    """
    lines = _fields(text, name, data)
    first_line, first = next(lines, (1, []))
    if not first:
        return
    # A copy of the file may have the header that the format lacks, as GLUE's STS-B has and the
    # original has not.
    headed = "columns" not in data or any(column in first for column in wanted)
    header: list[str] = first if headed else data["columns"]
    _check_columns(
        header,
        wanted,
        f"{name}, line {first_line}" if headed else f"{name}, by `data.columns`",
        data,
    )
    places = {column: header.index(column) for column in wanted}
    for line, fields in lines if headed else itertools.chain([(first_line, first)], lines):
        if len(fields) > len(header) and headed:
            raise UserError(
                f"{name}, line {line}: {len(fields)} columns, but the header has {len(header)}"
            )
        late = [c for c, place in places.items() if place >= len(fields)]
        if late and data.get("short_rows") == "skip":
            continue
        if late:
            place = places[late[0]] + 1
            raise UserError(
                f"{name}, line {line}: {len(fields)} columns, but {late[0]!r} is column {place}"
            )
        yield Row(line, {column: fields[place] for column, place in places.items()})


def _fields(text: str, name: str, data: dict[str, Any]) -> Iterator[tuple[int, list[str]]]:
    """Line and fields of each row that is not empty."""
    if data["format"] == "tsv" and not data.get("quoted", False):
        for i, raw in enumerate(text.split("\n"), start=1):
            if raw.strip("\r"):
                yield i, raw.removesuffix("\r").split("\t")
        return
    reader = csv.reader(
        io.StringIO(text, newline=""),
        delimiter="\t" if data["format"] == "tsv" else ",",
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
            f"{name}, line {line}: not {data['format']} ({error}): check quotes, and `data.format`"
        ) from error


def _check_columns(found: list[str], wanted: list[str], where: str, data: dict[str, Any]) -> None:
    """Every wanted column is there."""
    for column in wanted:
        if found.count(column) > 1:
            raise UserError(f"{where}: the column {column!r} stands twice: rename one")
        if column not in found:
            close = difflib.get_close_matches(column, found, n=1)
            hint = f"; did you mean {close[0]!r}?" if close else ""
            if column == data.get("label") and not close:
                hint = "; if the split is unlabelled, name a labelled one"
            raise UserError(
                f"{where}: no column {column!r}; there are {', '.join(map(repr, found))}{hint}"
            )
