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
def _declared(attribute: str) -> dict[str, str]:
    """Values of a class attribute by method, of the methods that assign a string to it.

    They are read from the source, as importing a method imports torch.
    """
    values = {}
    for name in names():
        tree = ast.parse((FOLDER / f"{name}.py").read_text(encoding="utf-8"))
        classes = [node for node in tree.body if isinstance(node, ast.ClassDef)]
        for node in (statement for part in classes for statement in part.body):
            if isinstance(node, ast.Assign) and isinstance(node.value, ast.Constant):
                if any(isinstance(t, ast.Name) and t.id == attribute for t in node.targets):
                    values[name] = str(node.value.value)
    return values


def aliases() -> dict[str, str]:
    """Method names by alias."""
    return {alias: name for name, alias in _declared("alias").items()}


def controls() -> frozenset[str]:
    """Names of the methods that are controls: the uncompressed matrix and the two floors."""
    return frozenset(name for name, kind in _declared("kind").items() if kind == "control")


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
