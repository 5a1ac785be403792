"""Read YAML files strictly. Imports no torch."""

from pathlib import Path
from typing import Any

import yaml

from ..errors import UserError


class _StrictLoader(yaml.SafeLoader):
    """The safe loader, except that duplicate keys are an error; YAML's last one would win."""

    def compose_mapping_node(self, anchor: str | None) -> yaml.MappingNode:
        """See base class. Keys that `<<` merges in are not duplicates."""
        node = super().compose_mapping_node(anchor)
        seen = set()
        for key, _ in node.value:
            if (key.tag, str(key.value)) in seen:
                message = f"duplicate key {key.value!r}"
                raise yaml.MarkedYAMLError(None, None, message, key.start_mark)
            seen.add((key.tag, str(key.value)))
        return node


def read_yaml(path: Path) -> dict[str, Any]:
    """Read a YAML file that has keys at its top level.

    Raises:
        UserError: if the file is missing, is not such YAML, or a key is given twice.
    """
    try:
        value = _StrictLoader(path.read_text(encoding="utf-8")).get_single_data()
    except (OSError, ValueError, RecursionError, yaml.YAMLError) as error:
        reason = " ".join(str(error).replace("<unicode string>", path.name).split())
        raise UserError(f"{path} cannot be read as YAML ({reason}): correct it") from error
    if not isinstance(value, dict):
        raise UserError(f"{path} has no keys at its top level: write `study:`, `seeds:` and so on")
    return value
