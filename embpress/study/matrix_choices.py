"""Weight matrices that an entry under `methods:` compresses, with their methods and ratios.

Imports no torch.
"""

from pathlib import Path
from typing import Any, NamedTuple

import yaml

from ..errors import UserError
from .layer_kinds import KINDS

PRESETS = Path(__file__).parent / "presets"
"""Folder of the entries that `preset:` names, one YAML file each."""

Entry = dict[str, Any]


class MatrixSpec(NamedTuple):
    """How the matrices of one kind are compressed."""

    kind: str
    """Among `layer_kinds.KINDS`."""
    method: str
    options: dict[str, Any]
    ratio: float | None
    """Dense fp32 bits / stored bits of each matrix; None for the common ratio of the budget."""


def compresses_layers(entry: Entry) -> bool:
    """Whether an entry names kinds of matrices to compress, instead of the embedding alone."""
    return "modules" in entry or "preset" in entry


def with_preset(name: str, entry: Entry) -> Entry:
    """An entry merged over the preset that it names, if any.

    Raises:
        UserError: if the preset is unknown.
    """
    if "preset" not in entry:
        return entry
    known = sorted(path.stem for path in PRESETS.glob("*.yaml"))
    if entry["preset"] not in known:
        raise UserError(
            f"methods.{name}: there is no preset {entry['preset']!r}; there are {', '.join(known)}"
        )
    return yaml.safe_load((PRESETS / f"{entry['preset']}.yaml").read_text(encoding="utf-8")) | entry


def matrix_specs(name: str, entry: Entry) -> list[MatrixSpec]:
    """Specs of the matrices that an entry with `modules` or a `preset` compresses.

    Returns:
        One spec a kind, in the order of KINDS.

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
    specs = []
    for kind in (k for k in KINDS if k in given):
        own = given[kind] or {}
        # Options belong to a method: another method does not inherit them.
        inherited = entry.get("options", {}) if own.get("method", method) == method else {}
        specs.append(
            MatrixSpec(
                kind,
                own.get("method", method),
                inherited | own.get("options", {}),
                own.get("ratio"),
            )
        )
    return specs
