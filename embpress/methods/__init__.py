"""Compression methods, one file each; a new file here is a new method in every study and table."""

import importlib
import pkgutil
from typing import Any

from ..errors import UserError
from ..formats.base import CompressedMatrix
from ..matrices import Rows
from .base import Context, Method, checked_matrix


def names() -> list[str]:
    """Names of all methods: the names of the files in this folder."""
    return sorted(m.name for m in pkgutil.iter_modules(__path__) if m.name != "base")


def method_class(name: str) -> type[Method]:
    """The one Method class in the file `name`.

    Raises:
        UserError: if there is no such method.
    """
    if name not in names():
        raise UserError(f"there is no method {name!r}; there are {', '.join(names())}")
    module = importlib.import_module(f"{__name__}.{name}")
    (found,) = [
        v for v in vars(module).values() if isinstance(v, type) and issubclass(v, Method) and v.__module__ == module.__name__
    ]
    return found


def compress(matrix: Rows, name: str, ratio: float, context: Context | None = None, **options: Any) -> CompressedMatrix:
    """Compress a (V, d) matrix, maybe on disk, by `ratio` with a method's name and options.

    Raises:
        UserError: for a matrix that cannot be compressed, an unknown method or option, and counts or sensitivities that the
            method needs and does not get, or that are of another matrix.
        InfeasibleRatio: if the method cannot reach the ratio on this shape.
    """
    method = method_class(name)(**options)
    checked = checked_matrix(matrix, method.streams)
    context = context or Context()
    context.check(checked.shape[0])
    plan = method.plan((checked.shape[0], checked.shape[1]), ratio)
    compressed = method.fit(checked, plan, context)  # type: ignore[arg-type]  # a file only if it streams
    compressed.prepare()
    return compressed
