"""Compression methods, one file each; a new file here is a new method in every study and table.

Importing this package imports no torch, so that a study can be checked where torch is not
installed.
"""

import ast
import importlib
from functools import lru_cache
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ..errors import UserError

if TYPE_CHECKING:
    from ..formats._base import CompressedMatrix
    from ..numerics.matrices import Rows
    from ._base import Context, Method

FOLDER = Path(__file__).parent


def names() -> list[str]:
    """Names of all methods: the names of the files in this folder that do not begin with an underscore."""
    return sorted(path.stem for path in FOLDER.glob("*.py") if not path.stem.startswith("_"))


@lru_cache
def aliases() -> dict[str, str]:
    """Method names by alias.

    Read from the `alias = "..."` line of each method's class without importing it.
    """
    return {alias: name for name in names() if (alias := _declared_alias(FOLDER / f"{name}.py"))}


def _declared_alias(path: Path) -> str | None:
    """The string assigned to `alias` in a class of a file, if there is one."""
    tree = ast.parse(path.read_text(encoding="utf-8"))
    for node in (
        statement for part in tree.body if isinstance(part, ast.ClassDef) for statement in part.body
    ):
        if isinstance(node, ast.Assign) and isinstance(node.value, ast.Constant):
            if any(
                isinstance(target, ast.Name) and target.id == "alias" for target in node.targets
            ):
                return str(node.value.value)
    return None


def resolve_name(name: str) -> str:
    """The name of a method's file, from that name or from its alias.

    Raises:
        UserError: if there is no such method.
    """
    name = aliases().get(name, name)
    if name not in names():
        raise UserError(f"there is no method {name!r}; there are {', '.join(names())}")
    return name


def method_class(name: str) -> "type[Method]":
    """The one Method class in the file `name`, or in the file whose alias is `name`.

    Raises:
        UserError: if there is no such method.
    """
    from ._base import Method

    module = importlib.import_module(f"{__name__}.{resolve_name(name)}")
    classes = [
        value
        for value in vars(module).values()
        if isinstance(value, type) and issubclass(value, Method)
    ]
    (found,) = [value for value in classes if value.__module__ == module.__name__]
    return found


def compress(
    matrix: "Rows", name: str, ratio: float, context: "Context | None" = None, **options: Any
) -> "CompressedMatrix":
    """Compress a (V, d) matrix, in memory or on disk, by `ratio` with a method's name and options.

    Raises:
        UserError: for a matrix that cannot be compressed, an unknown method or option, and counts
            or sensitivities that the method needs and does not get, or that are of another matrix.
        InfeasibleRatio: if the method cannot reach the ratio on this shape.

    Example:
        >>> import embpress, torch
        >>> matrix = torch.randn(300, 32, generator=torch.Generator().manual_seed(0))
        >>> compressed = embpress.compress(matrix, "svd", ratio=2)
        >>> compressed.ratio >= 2, compressed.rows(torch.tensor([7, 7, 2])).shape
        (True, torch.Size([3, 32]))
    """
    from ._base import Context, checked_matrix

    method = method_class(name)(**options)
    checked = checked_matrix(matrix, method.streams)
    context = context or Context()
    context.check(checked.shape[0])
    plan = method.plan((checked.shape[0], checked.shape[1]), ratio)
    compressed = method.fit(checked, plan, context)  # type: ignore[arg-type]  # a file only if it streams
    compressed.prepare()
    return compressed
