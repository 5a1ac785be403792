"""Labelled rows out of tables: CSV, TSV and JSON lines, plain or bz2, on disk or in a wheel."""

import io
from pathlib import Path
from typing import Any

import pandas

from ..errors import UserError
from . import packages


def read_rows(data: dict[str, Any], wheels: dict[str, Path], columns: list[str]) -> list[dict[str, str]]:
    """Rows of the file that a task's `data` entry names, as strings; rows that lack one of `columns` are left out.

    Raises:
        UserError: if the file is missing, is not of its format, or has not all columns.
    """
    name = data["path"]
    try:
        content = packages.read(wheels[data["package"]], name) if "package" in data else Path(name).read_bytes()
        compression = "bz2" if name.endswith(".bz2") else None
        if data["format"] == "jsonl":
            frame = pandas.read_json(io.BytesIO(content), lines=True, dtype=str, compression=compression)
        else:
            separator = {"csv": ",", "tsv": "\t"}[data["format"]]
            frame = pandas.read_csv(io.BytesIO(content), sep=separator, dtype=str, compression=compression)
    except OSError as error:
        raise UserError(f"{name} cannot be read ({error.strerror or error}): check `data.path`") from error
    except ValueError as error:
        raise UserError(f"{name} is not {data['format']} ({error}): check `data.format`") from error
    missing = [c for c in columns if c not in frame.columns]
    if missing:
        raise UserError(f"{name} has no column {missing[0]!r}; it has {', '.join(map(str, frame.columns))}")
    return frame[columns].dropna().astype(str).to_dict("records")
