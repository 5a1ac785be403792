"""Published benchmarks: `benchmark: cola` in a config stands for the benchmark's declaration."""

import copy
from collections.abc import Mapping
from pathlib import Path

from ..errors import UserError
from .fields import nearest
from .protocols import RawTask

SOURCES = ("folder", "hub", "urls")
"""Parts of a declaration that describe how each source holds the data."""


def resolve_benchmarks(
    tasks: Mapping[str, RawTask], declared: Mapping[str, RawTask]
) -> dict[str, RawTask]:
    """Replace every `benchmark` of a study's tasks by its declaration.

    Args:
        tasks: the config's `tasks`.
        declared: declarations by name, as in workflow/resources/benchmarks.yaml.

    Returns:
        Tasks without `benchmark`. Keys of an entry, and keys under its `data`, replace those of the
        declaration. `data.folder` reads the published files from a folder instead of downloading
        them.

    Raises:
        UserError: if a benchmark is unknown, or has no source.
    """
    is_named = {
        name: isinstance(entry, dict) and "benchmark" in entry for name, entry in tasks.items()
    }
    return {
        name: _spelled_out(name, entry, declared) if is_named[name] else entry
        for name, entry in tasks.items()
    }


def _spelled_out(name: str, entry: RawTask, declared: Mapping[str, RawTask]) -> RawTask:
    """One entry with its `benchmark` replaced by the declaration."""
    own = dict(entry)
    benchmark = own.pop("benchmark")
    if benchmark not in declared:
        hint = nearest(str(benchmark), declared)
        raise UserError(f"tasks.{name}: there is no benchmark {benchmark!r}{hint}")
    declaration = copy.deepcopy(dict(declared[benchmark]))
    data = declaration.pop("data")
    parts = {source: declaration.pop(source) for source in SOURCES if source in declaration}
    own_data = dict(own.pop("data", {}))
    if "folder" in own_data:
        data |= _in_folder(own_data.pop("folder"), parts["folder"], own_data)
    elif "hub" in parts:
        hub = parts["hub"]
        data |= {"hub": {k: hub.pop(k) for k in ("dataset", "name", "revision") if k in hub}} | hub
    elif "urls" in parts:
        data |= parts["urls"]
    else:
        raise UserError(
            f"tasks.{name}: {benchmark} has no pinned source: set `data.folder` to a folder that "
            "holds it"
        )
    return declaration | own | {"data": data | own_data}


def _in_folder(folder: str, part: RawTask, own: dict[str, object]) -> dict[str, object]:
    """Paths of the splits in a folder; file names that the entry gives are relative to it too.

    A split has one name, or several patterns of names that its distributions give it.
    """
    files = {}
    for split in ("train", "test"):
        names = own.pop(split, part[split])
        patterns = list(names) if isinstance(names, list) else [str(names)]
        files[split] = f"{folder}/{_find_name(folder, patterns)}"
    return {**part, **files}


def _find_name(folder: str, patterns: list[str]) -> str:
    """Name of the file in a folder that matches the first pattern, the newest version if there are
    several; the first pattern if none matches, which the check of files then names.
    """
    found = (sorted(path.name for path in Path(folder).glob(pattern)) for pattern in patterns)
    return next((names[-1] for names in found if names), patterns[0])
