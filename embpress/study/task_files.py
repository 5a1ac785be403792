"""Files and training of tasks, by the entries of a study as dictionaries. Imports no torch."""

from typing import Any

from ..tasks import parse_entry
from .task_entry import SPLITS, LabelledTaskEntry, TaskEntry


def parse(entry: dict[str, Any], where: str = "the task") -> TaskEntry:
    """The typed entry, which may lack the label that only tables show.

    Raises:
        UserError: if a key or value is wrong.
    """
    return parse_entry({"label": "", **entry}, where)


def labelled(tasks: dict[str, Any]) -> dict[str, LabelledTaskEntry]:
    """Typed entries of the tasks with labelled rows, by name."""
    entries = {name: parse(entry, f"tasks.{name}") for name, entry in tasks.items()}
    return {name: e for name, e in entries.items() if isinstance(e, LabelledTaskEntry)}


def is_trained(entry: dict[str, Any]) -> bool:
    """Whether a task trains a model, rather than uses one without training or of another task."""
    return parse(entry).is_trained


def is_one_file(entry: dict[str, Any]) -> bool:
    """Whether training and test rows of a labelled task are split out of one file."""
    typed = parse(entry)
    return isinstance(typed, LabelledTaskEntry) and typed.is_one_file


def own_files(tasks: dict[str, Any]) -> list[str]:
    """Files on this disk that the tasks of a study read, sorted."""
    entries = labelled(tasks).values()
    return sorted({str(path) for entry in entries for path in entry.local_files().values()})


def files_of(task: str, entry: dict[str, Any], splits: tuple[str, ...]) -> dict[str, str]:
    """Paths of the files that hold a task's splits, by split."""
    return parse(entry).files(task, splits)


def urls(tasks: dict[str, Any]) -> dict[str, str]:
    """Addresses of all files by URL of a study, by their sha256."""
    return {key: url for entry in labelled(tasks).values() for key, url in entry.urls.items()}


__all__ = [
    "SPLITS",
    "files_of",
    "is_one_file",
    "is_trained",
    "labelled",
    "own_files",
    "parse",
    "urls",
]
