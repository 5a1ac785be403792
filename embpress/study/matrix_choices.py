"""Which weight matrices an entry under `methods:` compresses, each by what and to what ratio.

Imports no torch.
"""

from pathlib import Path
from typing import Any, NamedTuple

import yaml

from ..errors import UserError
from .layer_kinds import KINDS

PRESETS = Path(__file__).parent / "presets"
"""Entries that are named by `preset:`, one YAML file each."""

Entry = dict[str, Any]


class Choice(NamedTuple):
    """How the matrices of one kind are compressed."""

    kind: str
    """Among `modules.KINDS`."""
    method: str
    options: dict[str, Any]
    ratio: float | None
    """Dense fp32 bits / bits stored of each matrix; None shares what the budget leaves."""


def is_whole_model(entry: Entry) -> bool:
    """Whether an entry says which matrices it compresses.

    One that does not compresses the embedding.
    """
    return "modules" in entry or "preset" in entry


def with_preset(name: str, entry: Entry) -> Entry:
    """An entry with what its preset says, if it names one; what the entry says itself goes first.

    Raises:
        UserError: if there is no such preset.
    """
    if "preset" not in entry:
        return entry
    known = sorted(path.stem for path in PRESETS.glob("*.yaml"))
    if entry["preset"] not in known:
        raise UserError(
            f"methods.{name}: there is no preset {entry['preset']!r}; there are {', '.join(known)}"
        )
    return yaml.safe_load((PRESETS / f"{entry['preset']}.yaml").read_text(encoding="utf-8")) | entry


def choices_of(name: str, entry: Entry) -> list[Choice]:
    """What a whole-model entry compresses, in the order of KINDS.

    Raises:
        UserError: if it names an unknown preset or kind.
    """
    entry = with_preset(name, entry)
    modules: Any = entry["modules"]
    method: str = entry.get("method", name)
    given = modules if isinstance(modules, dict) else dict.fromkeys(modules)
    for kind in given:
        if kind not in KINDS:
            raise UserError(
                f"methods.{name}.modules: there is no kind {kind!r}; there are {', '.join(KINDS)}"
            )
    found = []
    for kind in (k for k in KINDS if k in given):
        own = given[kind] or {}
        # Options belong to a method: another method does not inherit them.
        inherited = entry.get("options", {}) if own.get("method", method) == method else {}
        found.append(
            Choice(
                kind,
                own.get("method", method),
                inherited | own.get("options", {}),
                own.get("ratio"),
            )
        )
    return found
