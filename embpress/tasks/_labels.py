"""Labels as files write them, to their positions."""

from ..errors import UserError


def label_positions(labels: dict[str, str]) -> dict[str, int]:
    """Position of each label by its name and by how files write it.

    Raises:
        UserError: if one spelling means two labels.
    """
    names = {name: i for i, name in enumerate(labels)}
    written = {value: i for i, value in enumerate(labels.values())}
    clash = [value for value, i in written.items() if names.get(value, i) != i]
    if clash or len(written) < len(names):
        raise UserError(
            f"`data.labels`: {(clash or list(written))[0]!r} means two labels: give each its own"
        )
    return names | written


def label_position(value: str, positions: dict[str, int], names: list[str]) -> int:
    """Position of a label by its name or by how files write it.

    Raises:
        ValueError: "none of ..." if it is neither.
    """
    if value not in positions:
        raise ValueError(f"none of {', '.join(map(repr, names))}: check `data.labels`")
    return positions[value]
