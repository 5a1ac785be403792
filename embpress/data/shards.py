"""Corpora of any size as shards.

Parts of files that are read one text after another, in bounded memory.
"""

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple

from ..errors import UserError

SHARD_BYTES = 32 << 20
"""About as much text a shard: seconds of counting, and words that fit into memory."""
LINES = ".txt"
ROWS = ".jsonl"
PARQUET = ".parquet"


class Shard(NamedTuple):
    """A part of a file: bytes [start, stop) of lines, or row groups [start, stop) of Parquet."""

    path: Path
    start: int
    stop: int
    column: str
    """Where the text of a row stands, for JSON lines and Parquet."""


def list_shards(folder: Path, column: str) -> list[Shard]:
    """Shards of all .txt (a text a line), .jsonl and .parquet files below a folder, in the order of
    their names.

    Raises:
        UserError: if there are none, they hold nothing, or a Parquet file is broken or lacks the
            column.
    """
    if not folder.is_dir():
        raise UserError(f"{folder} is no folder: check `path` of the corpus")
    files = sorted(
        path
        for path in folder.rglob("*")
        if path.suffix in (LINES, ROWS, PARQUET) and path.is_file()
    )
    if not files:
        raise UserError(
            f"{folder} holds no .txt, .jsonl or .parquet file: check `path` of the corpus"
        )
    found: list[Shard] = []
    for path in files:
        if path.suffix == PARQUET:
            found += _parquet_shards(path, column)
        else:
            size = path.stat().st_size
            found += [
                Shard(path, at, min(at + SHARD_BYTES, size), column)
                for at in range(0, size, SHARD_BYTES)
            ]
    if not found:
        raise UserError(
            f"the {len(files)} files of {folder} are all empty: there is nothing to count"
        )
    return found


def iterate_texts(shard: Shard) -> Iterator[str]:
    """Texts of a shard, empty ones left out.

    Raises:
        UserError: if a text is not UTF-8, or a row not JSON or without the column; with file and
            line.
    """
    read = {LINES: _lines, ROWS: _json_texts, PARQUET: _parquet_texts}[shard.path.suffix]
    return (text for text in read(shard) if text and not text.isspace())


def _raw_lines(shard: Shard) -> Iterator[tuple[int, str]]:
    """Start and text of each line that begins in a shard: the last one may end in the next."""
    with shard.path.open("rb") as file:
        # A line that began before the shard is the shard before's: go to the first that begins
        # here.
        if shard.start:
            file.seek(shard.start - 1)
            file.readline()
        at = file.tell()
        while at < shard.stop and (raw := file.readline()):
            try:
                yield at, raw.decode("utf-8-sig" if at == 0 else "utf-8").rstrip("\r\n")
            except UnicodeDecodeError as error:
                raise UserError(
                    f"{shard.path}, line {_line_number(shard.path, at)}: not UTF-8 ({error.reason}): convert the file"
                ) from error
            at += len(raw)


def _line_number(path: Path, at: int) -> int:
    """Number of the line, from 1, that begins at a byte.

    For errors: it reads all that stands before.
    """
    number = 1
    with path.open("rb") as file:
        while at > 0 and (block := file.read(min(at, 1 << 20))):
            number += block.count(b"\n")
            at -= len(block)
    return number


def _lines(shard: Shard) -> Iterator[str]:
    """One text a line."""
    for _, line in _raw_lines(shard):
        yield line


def _json_texts(shard: Shard) -> Iterator[str]:
    """The column of each JSON object, one a line."""
    for at, line in _raw_lines(shard):
        if not line.strip():
            continue
        try:
            row: Any = json.loads(line)
        except ValueError as error:
            raise UserError(
                f"{shard.path}, line {_line_number(shard.path, at)}: not JSON ({error})"
            ) from error
        if not isinstance(row, dict) or shard.column not in row:
            there = ", ".join(map(repr, row)) if isinstance(row, dict) else "no columns"
            raise UserError(
                f"{shard.path}, line {_line_number(shard.path, at)}: no column {shard.column!r}; there are {there}: "
                "set `column` of the corpus"
            )
        if row[shard.column] is not None and not isinstance(row[shard.column], str):
            raise UserError(
                f"{shard.path}, line {_line_number(shard.path, at)}: column {shard.column!r} holds no text"
            )
        text = row[shard.column] or ""
        # JSON may hold half of a character, which no file can.
        yield (
            text.encode("utf-16", "surrogatepass").decode("utf-16", "replace")
            if "\\u" in line
            else text
        )


def _parquet_shards(path: Path, column: str) -> list[Shard]:
    """Neighbouring row groups whose text comes to about SHARD_BYTES."""
    import pyarrow
    from pyarrow import parquet

    try:
        with parquet.ParquetFile(path) as file:
            schema = file.schema_arrow
            metadata = file.metadata
    except (pyarrow.ArrowException, OSError) as error:
        raise UserError(
            f"{path} is no whole Parquet file ({' '.join(str(error).split())}): download it again"
        ) from error
    if column not in schema.names:
        there = ", ".join(map(repr, schema.names))
        raise UserError(
            f"{path}: no column {column!r}; there are {there}: set `column` of the corpus"
        )
    if schema.field(column).type not in (pyarrow.string(), pyarrow.large_string()):
        raise UserError(
            f"{path}: column {column!r} holds {schema.field(column).type}, no text: set `column` of the corpus"
        )
    found = []
    start = 0
    size = 0
    for group in range(metadata.num_row_groups):
        size += metadata.row_group(group).total_byte_size
        if size >= SHARD_BYTES or group + 1 == metadata.num_row_groups:
            found.append(Shard(path, start, group + 1, column))
            start = group + 1
            size = 0
    return found


def _parquet_texts(shard: Shard) -> Iterator[str]:
    """The column of each row."""
    from pyarrow import parquet

    with parquet.ParquetFile(shard.path) as file:
        groups = list(range(shard.start, shard.stop))
        for batch in file.iter_batches(
            batch_size=1024, row_groups=groups, columns=[shard.column], use_threads=False
        ):
            yield from (text or "" for text in batch.column(0).to_pylist())
