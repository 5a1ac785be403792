"""Write files and folders completely or not at all, and read small JSON files."""

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

MAX_JSON_BYTES = 1 << 20
"""Headers and manifests of embpress have a few hundred bytes; much larger files are not read."""
MAX_MODEL_JSON_BYTES = 100_000_000
"""Limit of a model's own JSON files, the same as of a safetensors header: a config with 30,000
labels or a tokenizer's with 6,400 added tokens takes more than a megabyte."""


def write_text(path: Path, text: str) -> None:
    """Write a text file completely or not at all, so that a kill never leaves a partial file."""
    with atomic_file(path) as file:
        file.write(text)


def partial_file(path: Path) -> Path:
    """Where a file is written before it replaces `path`.

    The name is the same in each run, so that the next run replaces what a killed one has left.
    """
    return path.with_name(f".{path.name}.partial")


@contextmanager
def atomic_file(path: Path) -> Iterator[TextIO]:
    """Open a temporary text file that replaces `path` when the block ends without an error.

    Line ends are written as they are given.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    temporary = partial_file(path)
    try:
        with temporary.open("w", encoding="utf-8", newline="\n") as file:
            yield file
        temporary.replace(path)
    finally:  # a write that fails, such as on a full disk, leaves a partial file
        temporary.unlink(missing_ok=True)


def write_json(path: Path, value: object) -> None:
    """Write indented JSON with keys in their given order."""
    write_text(path, json.dumps(value, indent=1, ensure_ascii=False) + "\n")


@contextmanager
def atomic_directory(folder: Path) -> Iterator[Path]:
    """Yield an empty folder that replaces `folder` when the block ends without an error.

    For outputs of the workflow, which are replaced with all their files. A partial folder that a
    killed job left is deleted.
    """
    folder = folder.resolve()  # "." has no name, and is another folder after a rename
    with scratch_directory(folder) as scratch:
        complete = scratch / folder.name
        complete.mkdir()
        yield complete
        shutil.rmtree(folder, ignore_errors=True)
        complete.rename(folder)


@contextmanager
def replace_directory(folder: Path, manifest: str) -> Iterator[Path]:
    """Like `atomic_directory`, but refuse to delete files that embpress did not write.

    An existing folder stays the same folder with new contents, so that a shell in it stays valid.

    Args:
        folder: the folder to write; it may exist if it is empty or contains an earlier output only.
        manifest: name of the JSON file in it that lists the written files under `sha256`.

    Raises:
        UserError: if the folder contains other files.
    """
    folder = folder.resolve()  # a relative path may lead elsewhere when the block ends
    check_replaceable(folder, manifest)
    with _temporary_sibling(folder) as partial:
        yield partial
        check_replaceable(folder, manifest)  # as the block may have run for hours
        if not folder.exists():
            partial.rename(folder)
            return
        old = partial.with_suffix(".old")
        old.mkdir()
        try:
            _swap_contents(partial, folder, old, manifest)
        finally:
            shutil.rmtree(old, ignore_errors=True)


def _swap_contents(new: Path, folder: Path, old: Path, manifest: str) -> None:
    """Move everything in `folder` to `old` and everything in `new` to `folder`, or nothing.

    The manifest moves out first and in last: a folder with a manifest is complete after a kill too.
    """
    moved: list[tuple[Path, Path]] = []
    try:
        for source, target, is_first in ((folder, old, True), (new, folder, False)):
            paths = sorted(source.iterdir(), key=lambda p: (p.name == manifest) != is_first)
            for path in paths:
                path.rename(target / path.name)
                moved.append((path, target / path.name))
    except BaseException:
        for before, after in reversed(moved):
            after.rename(before)
        raise


@contextmanager
def merge_into_directory(folder: Path, manifest: str) -> Iterator[Path]:
    """Yield an empty folder whose files are moved into `folder` when the block ends without an
    error.

    Other files in `folder` stay. Files are moved one by one, the manifest last.

    Raises:
        UserError: if `folder` is a file.
    """
    if folder.exists() and not folder.is_dir():
        raise UserError(f"{folder} is a file: name a folder")
    with _temporary_sibling(folder) as partial:
        yield partial
        folder.mkdir(parents=True, exist_ok=True)
        for file in sorted(partial.iterdir(), key=lambda path: path.name == manifest):
            file.replace(folder / file.name)


@contextmanager
def scratch_directory(output: Path) -> Iterator[Path]:
    """Yield an empty hidden folder beside an output file or folder, and delete it afterwards.

    Scratch folders that killed jobs left for the same output are deleted first.
    """
    output.parent.mkdir(parents=True, exist_ok=True)
    for stale in output.parent.glob(f".{escape(output.name)}.*.partial"):
        shutil.rmtree(stale, ignore_errors=True)
    with _temporary_sibling(output) as partial:
        yield partial


@contextmanager
def _temporary_sibling(path: Path) -> Iterator[Path]:
    """Yield an empty hidden folder on the same disk as `path`, and delete it afterwards."""
    path = path.resolve()
    path.parent.mkdir(parents=True, exist_ok=True)
    partial = path.with_name(f".{path.name}.{os.getpid()}.partial")
    shutil.rmtree(partial, ignore_errors=True)
    partial.mkdir()
    try:
        yield partial
    finally:
        shutil.rmtree(partial, ignore_errors=True)


def check_replaceable(folder: Path, manifest: str) -> None:
    """Check that a folder is empty, does not exist, or contains an earlier output only.

    Raises:
        UserError: if it is a file, or contains files that its manifest does not list.
    """
    if not folder.is_dir():
        if folder.exists():
            raise UserError(f"{folder} is a file: name a folder")
        return
    if not any(folder.iterdir()):
        return
    if not (folder / manifest).is_file():
        raise UserError(
            f"{folder} contains files, but no earlier output of embpress: name another folder"
        )
    files = (path.relative_to(folder) for path in folder.rglob("*") if not path.is_dir())
    names = {path.as_posix() for path in files}
    try:
        listed = json.loads((folder / manifest).read_text(encoding="utf-8"))["sha256"]
        foreign = names - {manifest, *listed}
    except (ValueError, KeyError, TypeError):
        foreign = names - {manifest}
    if foreign:
        raise UserError(
            f"{folder} contains {min(foreign)}, which embpress did not write: name another folder"
        )


def output_folder(folder: str | Path, manifest: str) -> Path:
    """A folder to write, checked before the work on its contents.

    Raises:
        UserError: as `check_replaceable`, or if it has no name or cannot be written.
    """
    path = output_path(folder)
    check_replaceable(path, manifest)
    check_writable(path)
    return path


def output_file(file: str | Path) -> Path:
    """A file to write in a folder that exists, checked before the work on its contents.

    Raises:
        UserError: if it has no name, is a folder, its folder does not exist, or it cannot be
            written.
    """
    path = output_path(file)
    if path.is_dir() or not path.parent.is_dir():
        raise UserError(f"{path} cannot be written: name a file in a folder that exists")
    check_writable(path)
    return path


def output_path(path: str | Path) -> Path:
    """A path that is not empty, as "" would mean the working folder."""
    if path == "":
        raise UserError("the name of the output is empty: name a file or folder")
    return Path(path)


def check_writable(path: Path) -> None:
    """Check that a file or folder can be made, by a hidden folder that is deleted at once.

    It is made where the partial output will be: beside `path`, or in the nearest folder above that
    exists. Contents of an existing folder are replaced, so that it must be writable too.

    Raises:
        UserError: if it cannot.
    """
    try:
        target = path.resolve()
        above = next(folder for folder in target.parents if folder.exists())
        for folder in {above, target} if target.is_dir() else {above}:
            probe = folder / f".{target.name}.{os.getpid()}.probe"
            probe.mkdir()
            probe.rmdir()
    except OSError as error:
        reason = error.strerror or type(error).__name__
        raise UserError(
            f"{path} cannot be written ({reason}): name another output, or allow writing there"
        ) from error


def sha256_of(path: Path) -> str:
    """Hexadecimal SHA-256 of a file, which is read in blocks."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def read_json(path: Path, max_bytes: int = MAX_JSON_BYTES) -> dict[str, Any]:
    """Read a JSON object from a file of at most `max_bytes`.

    Raises:
        ValueError: if the file is larger or contains anything else.
    """
    if path.stat().st_size > max_bytes:
        raise ValueError(f"{path.name} is larger than {max_bytes} bytes")
    try:
        value = json.loads(path.read_text(encoding="utf-8"))
    except RecursionError as error:
        raise ValueError(f"{path.name} is nested too deeply") from error
    if not isinstance(value, dict):
        raise ValueError(f"{path.name} contains no JSON object")
    return value


def summarize_error(error: Exception) -> str:
    """The first line of an error's message, or the name of its type if it has no message."""
    if isinstance(error, KeyError):
        return f"{error} is missing"
    return next(iter(str(error).splitlines()), type(error).__name__)
