"""Write files whole or not at all."""

import hashlib
import json
import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from glob import escape
from pathlib import Path
from typing import Any, TextIO

from .errors import UserError


def write_text(path: Path, text: str) -> None:
    """Write through a temporary name in the same folder.

    So that a kill never leaves half a file.
    """
    with whole_file(path) as file:
        file.write(text)


@contextmanager
def whole_file(path: Path) -> Iterator[TextIO]:
    """A text file to write piece by piece, which takes its place once all went well.

    Line ends are written as they come.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    temporary = path.with_name(f".{path.name}.{os.getpid()}")
    try:
        with temporary.open("w", encoding="utf-8", newline="\n") as file:
            yield file
        temporary.replace(path)
    finally:  # a full disk leaves half a file
        temporary.unlink(missing_ok=True)


def write_json(path: Path, value: Any) -> None:
    """Write JSON, indented, keys in their given order."""
    write_text(path, json.dumps(value, indent=1, ensure_ascii=False) + "\n")


@contextmanager
def whole_folder(folder: Path, marker: str) -> Iterator[Path]:
    """A folder beside `folder` to write to, which takes its place once all went well.

    Args:
        folder: where the files are to be; replaced if it is empty or holds only what was written so
            before.
        marker: the JSON file that lists under `sha256` what was written.

    Raises:
        UserError: if the folder holds something else.
    """
    check_replaceable(folder, marker)
    with _beside(folder) as partial:
        yield partial
        old = partial.with_suffix(".old")
        if folder.exists():
            folder.resolve().rename(old)
        partial.rename(folder.resolve())
        shutil.rmtree(old, ignore_errors=True)


@contextmanager
def whole_new_folder(folder: Path) -> Iterator[Path]:
    """Like `whole_folder`, for an output of the workflow's own.

    Which is replaced whatever it holds.
    """
    with scratch_beside(folder) as scratch:
        whole = scratch / folder.name
        whole.mkdir()
        yield whole
        shutil.rmtree(folder, ignore_errors=True)
        whole.rename(folder)


@contextmanager
def merged_folder(folder: Path, marker: str) -> Iterator[Path]:
    """Like `whole_folder`, but what else is in the folder stays.

    Files take their places one by one, the marker last.
    """
    if folder.exists() and not folder.is_dir():
        raise UserError(f"{folder} is a file: name a folder")
    with _beside(folder) as partial:
        yield partial
        folder.mkdir(parents=True, exist_ok=True)
        for file in sorted(partial.iterdir(), key=lambda path: path.name == marker):
            file.replace(folder / file.name)


@contextmanager
def scratch_beside(out: Path) -> Iterator[Path]:
    """An empty hidden folder beside an output, gone afterwards.

    First goes what a killed job left there for that output.
    """
    out.parent.mkdir(parents=True, exist_ok=True)
    for left in out.parent.glob(f".{escape(out.name)}.*.partial"):
        shutil.rmtree(left, ignore_errors=True)
    with _beside(out) as partial:
        yield partial


@contextmanager
def _beside(folder: Path) -> Iterator[Path]:
    """An empty hidden folder on the same disk, gone afterwards."""
    folder = folder.resolve()
    folder.parent.mkdir(parents=True, exist_ok=True)
    partial = folder.with_name(f".{folder.name}.{os.getpid()}.partial")
    shutil.rmtree(partial, ignore_errors=True)
    partial.mkdir()
    try:
        yield partial
    finally:
        shutil.rmtree(partial, ignore_errors=True)


def check_replaceable(folder: Path, marker: str) -> None:
    """Refuse to overwrite what is not ours.

    Raises:
        UserError: if the folder is a file, or holds files that its marker does not list.
    """
    if not folder.is_dir():
        if folder.exists():
            raise UserError(f"{folder} is a file: name a folder")
        return
    found = {path.name for path in folder.iterdir()}
    if found and marker not in found:
        raise UserError(
            f"{folder} is not empty and no earlier output of embpress: name another folder"
        )
    try:
        ours = (
            {marker, *json.loads((folder / marker).read_text(encoding="utf-8"))["sha256"]}
            if found
            else set()
        )
    except (ValueError, KeyError, TypeError):
        ours = {marker}
    if found - ours:
        raise UserError(
            f"{folder} holds {min(found - ours)}, which embpress did not write: name another folder"
        )


def sha256_of(path: Path) -> str:
    """Hex digest of a file, read in blocks."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def read_json(path: Path) -> dict[str, Any]:
    """A JSON object out of a small file.

    Raises:
        ValueError: if the file is large or holds anything else.
    """
    if path.stat().st_size > MOST_HEADER_BYTES:
        raise ValueError(f"{path.name} is larger than {MOST_HEADER_BYTES} bytes")
    try:
        value = json.loads(path.read_text(encoding="utf-8"))
    except RecursionError as error:
        raise ValueError(f"{path.name} is nested too deep") from error
    if not isinstance(value, dict):
        raise ValueError(f"{path.name} holds no JSON object")
    return value


def first_line(error: Exception) -> str:
    """What an error says, in one line; its type where it says nothing."""
    if isinstance(error, KeyError):
        return f"{error} is missing"
    return next(iter(str(error).splitlines()), type(error).__name__)


MOST_HEADER_BYTES = 1 << 20
"""A header is some hundred bytes of JSON; what is far larger is no header."""
