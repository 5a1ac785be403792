"""Published benchmarks by one declaration each: `benchmark.

Cola` in a config stands for what the declaration says.
"""

import copy
import difflib
from typing import Any

from ..errors import UserError

SOURCES = ("folder", "hub", "urls")
"""Parts of a declaration that say how each source holds the data."""


def resolve(tasks: dict[str, Any], declared: dict[str, Any]) -> dict[str, Any]:
    """Tasks of a study with every `benchmark` replaced by what it stands for.

    Args:
        tasks: the config's `tasks`.
        declared: declarations by name, as in workflow/resources/benchmarks.yaml.

    Returns:
        Tasks as if the config had spelled them out. What an entry says itself replaces what the
        declaration says; so do keys under its `data`. `data.folder` there reads the published files
        out of a folder, instead of downloading them.

    Raises:
        UserError: if there is no such benchmark, or it can be had from nowhere.
    """
    if not isinstance(tasks, dict):
        return tasks  # the schema refuses it
    is_named = {
        name: isinstance(entry, dict) and "benchmark" in entry for name, entry in tasks.items()
    }
    return {
        name: _spelled_out(name, entry, declared) if is_named[name] else entry
        for name, entry in tasks.items()
    }


def _spelled_out(name: str, entry: dict[str, Any], declared: dict[str, Any]) -> dict[str, Any]:
    """One entry without `benchmark`."""
    own = dict(entry)
    benchmark = own.pop("benchmark")
    if benchmark not in declared:
        close = difflib.get_close_matches(str(benchmark), declared, n=1)
        hint = (
            f"did you mean {close[0]!r}?" if close else f"there are {', '.join(sorted(declared))}"
        )
        raise UserError(f"tasks.{name}: there is no benchmark {benchmark!r}; {hint}")
    declaration = copy.deepcopy(declared[benchmark])
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
            f"tasks.{name}: {benchmark} has no pinned source: name a folder that holds it, `data.folder`"
        )
    return declaration | own | {"data": data | own_data}


def _in_folder(folder: str, part: dict[str, Any], own: dict[str, Any]) -> dict[str, Any]:
    """Where a folder holds the splits. File names of the entry's own are below the folder too."""
    files = {split: f"{folder}/{own.pop(split, part[split])}" for split in ("train", "test")}
    return part | files
