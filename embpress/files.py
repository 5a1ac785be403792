"""Write files whole or not at all."""

import hashlib
import json
import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from .errors import UserError


def write_text(path: Path, text: str) -> None:
    """Write through a temporary name in the same folder, so that a kill never leaves half a file."""
    path.parent.mkdir(parents=True, exist_ok=True)
    temporary = path.with_name(f".{path.name}.{os.getpid()}")
    temporary.write_text(text, encoding="utf-8")
    temporary.replace(path)


def write_json(path: Path, value: Any) -> None:
    """Write JSON, indented, keys in their given order."""
    write_text(path, json.dumps(value, indent=1, ensure_ascii=False) + "\n")


@contextmanager
def whole_folder(folder: Path, marker: str) -> Iterator[Path]:
    """A folder beside `folder` to write to, which takes its place once all went well.

    Args:
        folder: where the files are to be; replaced if it is empty or was written before.
        marker: the file that tells a folder written before from a stranger's.

    Raises:
        UserError: if the folder holds something else.
    """
    check_replaceable(folder, marker)
    folder = folder.resolve()
    folder.parent.mkdir(parents=True, exist_ok=True)
    partial, old = (folder.with_name(f".{folder.name}.{os.getpid()}.{what}") for what in ("partial", "old"))
    shutil.rmtree(partial, ignore_errors=True)
    partial.mkdir()
    try:
        yield partial
        if folder.exists():
            folder.rename(old)
        partial.rename(folder)
        shutil.rmtree(old, ignore_errors=True)
    finally:
        shutil.rmtree(partial, ignore_errors=True)


def check_replaceable(folder: Path, marker: str) -> None:
    """Refuse to overwrite what is not ours.

    Raises:
        UserError: if the folder is a file, or holds files without the marker.
    """
    if folder.is_dir() and any(folder.iterdir()) and not (folder / marker).is_file():
        raise UserError(f"{folder} is not empty and no earlier output of embpress: name another folder")
    if folder.exists() and not folder.is_dir():
        raise UserError(f"{folder} is a file: name a folder")


def sha256_of(path: Path) -> str:
    """Hex digest of a file, read in blocks."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
