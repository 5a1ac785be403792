"""Shards of a corpus: parts of files whose texts are read one by one, in bounded memory."""

import json
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, NamedTuple

from ..errors import UserError

SHARD_BYTES = 32 << 20
"""Approximate text of a shard: it takes seconds to count, and its words fit into memory."""
LINES = ".txt"
ROWS = ".jsonl"
PARQUET = ".parquet"


class Shard(NamedTuple):
    """A part of a file: bytes [start, stop) of lines, or row groups [start, stop) of Parquet."""

    path: Path
    start: int
    stop: int
    column: str
    """Name of the column with the text, for JSON lines and Parquet."""


def list_shards(folder: Path, column: str) -> list[Shard]:
    """List the shards of all .txt, .jsonl and .parquet files below a folder, sorted by path.

    Args:
        folder: the corpus; a .txt file has one text per line.
        column: the column with the text, for JSON lines and Parquet.

    Raises:
        UserError: if there are no such files, all are empty, or a Parquet file is damaged or lacks
            the column.
    """
    if not folder.is_dir():
        raise UserError(f"{folder} is not a folder: check `path` of the corpus")
    files = sorted(
        path
        for path in folder.rglob("*")
        if path.suffix in (LINES, ROWS, PARQUET) and path.is_file()
    )
    if not files:
        raise UserError(
            f"{folder} contains no .txt, .jsonl or .parquet file: check `path` of the corpus"
        )
    shards: list[Shard] = []
    for path in files:
        shards += file_shards(path, column)
    if not shards:
        raise UserError(
            f"the {len(files)} files of {folder} are all empty: check `path` of the corpus"
        )
    return shards


def file_shards(path: Path, column: str) -> list[Shard]:
    """List the shards of one .txt, .jsonl or .parquet file; none if it is empty.

    Raises:
        UserError: if it does not exist, is of another kind, or a damaged Parquet file.
    """
    if path.suffix not in (LINES, ROWS, PARQUET) or not path.is_file():
        raise UserError(f"{path} is not a .txt, .jsonl or .parquet file: name files with texts")
    if path.suffix == PARQUET:
        return _parquet_shards(path, column)
    size = path.stat().st_size
    return [
        Shard(path, start, min(start + SHARD_BYTES, size), column)
        for start in range(0, size, SHARD_BYTES)
    ]


def iterate_texts(shard: Shard) -> Iterator[str]:
    """Iterate over the texts of a shard that are not empty.

    Raises:
        UserError: with file and line, if a text is not UTF-8, or a row is not JSON or lacks the
            column.
    """
    read = {LINES: _lines, ROWS: _json_texts, PARQUET: _parquet_texts}[shard.path.suffix]
    return (text for text in read(shard) if text and not text.isspace())


def iterate_counted(
    shard: Shard, held_out: float, keep: Callable[[str], object] = str
) -> Iterator[str]:
    """Iterate over the texts of a shard that are counted: all but every n-th one.

    Args:
        shard: the shard.
        held_out: share of texts that are not counted.
        keep: called with each held-out text.

    Raises:
        UserError: as `iterate_texts`.
    """
    step = max(2, round(1 / held_out)) if held_out else 0
    for number, text in enumerate(iterate_texts(shard)):
        if step and number % step == 0:
            keep(text)
        else:
            yield text


def _raw_lines(shard: Shard) -> Iterator[tuple[int, str]]:
    """First byte and text of each line that begins in a shard; the last may end in the next."""
    with shard.path.open("rb") as file:
        # A line that began before the shard belongs to the previous one: skip to the next line.
        if shard.start:
            file.seek(shard.start - 1)
            file.readline()
        start = file.tell()
        while start < shard.stop and (raw := file.readline()):
            try:
                yield start, raw.decode("utf-8-sig" if start == 0 else "utf-8").rstrip("\r\n")
            except UnicodeDecodeError as error:
                raise UserError(
                    f"{_location(shard, start)}: not UTF-8 ({error.reason}): convert the file"
                ) from error
            start += len(raw)


def _location(shard: Shard, start: int) -> str:
    """File and number, from 1, of the line that begins at a byte.

    For errors only: it reads the file up to that byte.
    """
    number = 1
    with shard.path.open("rb") as file:
        while start > 0 and (block := file.read(min(start, 1 << 20))):
            number += block.count(b"\n")
            start -= len(block)
    return f"{shard.path}, line {number}"


def _lines(shard: Shard) -> Iterator[str]:
    """One text per line."""
    for _, line in _raw_lines(shard):
        yield line


def _json_texts(shard: Shard) -> Iterator[str]:
    """The column of one JSON object per line."""
    column = shard.column
    for start, line in _raw_lines(shard):
        if not line.strip():
            continue
        try:
            row: Any = json.loads(line)
        except ValueError as error:
            raise UserError(
                f"{_location(shard, start)}: not JSON ({error}): correct the line"
            ) from error
        if not isinstance(row, dict) or column not in row:
            columns = ", ".join(map(repr, row)) if isinstance(row, dict) else "no columns"
            raise UserError(
                f"{_location(shard, start)}: no column {column!r}; there are {columns}: set "
                "`column` of the corpus"
            )
        text = row[column]
        if text is not None and not isinstance(text, str):
            raise UserError(
                f"{_location(shard, start)}: column {column!r} is not text: set `column` of the "
                "corpus"
            )
        # JSON may contain half a surrogate pair, which cannot be written to a file.
        if text and "\\u" in line:
            text = text.encode("utf-16", "surrogatepass").decode("utf-16", "replace")
        yield text or ""


def _parquet_shards(path: Path, column: str) -> list[Shard]:
    """Shards of a Parquet file: consecutive row groups of about SHARD_BYTES of text."""
    import pyarrow
    from pyarrow import parquet

    try:
        with parquet.ParquetFile(path) as file:
            schema = file.schema_arrow
            metadata = file.metadata
    except (pyarrow.ArrowException, OSError) as error:
        raise UserError(
            f"{path} is not a complete Parquet file ({' '.join(str(error).split())}): download it "
            "again"
        ) from error
    if column not in schema.names:
        columns = ", ".join(map(repr, schema.names))
        raise UserError(
            f"{path}: no column {column!r}; there are {columns}: set `column` of the corpus"
        )
    if schema.field(column).type not in (pyarrow.string(), pyarrow.large_string()):
        raise UserError(
            f"{path}: column {column!r} is {schema.field(column).type}, not text: set `column` of "
            "the corpus"
        )
    shards = []
    start = 0
    size = 0
    for group in range(metadata.num_row_groups):
        size += metadata.row_group(group).total_byte_size
        if size >= SHARD_BYTES or group + 1 == metadata.num_row_groups:
            shards.append(Shard(path, start, group + 1, column))
            start = group + 1
            size = 0
    return shards


def _parquet_texts(shard: Shard) -> Iterator[str]:
    """The column of each row."""
    from pyarrow import parquet

    with parquet.ParquetFile(shard.path) as file:
        groups = list(range(shard.start, shard.stop))
        for batch in file.iter_batches(
            batch_size=1024, row_groups=groups, columns=[shard.column], use_threads=False
        ):
            yield from (text or "" for text in batch.column(0).to_pylist())
