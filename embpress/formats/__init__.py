"""Formats of compressed matrices: what is stored and how rows are decoded, one file a format.

Files that begin with an underscore are helpers. No format needs a method's training code.
"""

import importlib
import pkgutil

from ._base import CompressedMatrix


def names() -> list[str]:
    """Names of all formats: the files of this folder that do not begin with an underscore."""
    return sorted(m.name for m in pkgutil.iter_modules(__path__) if not m.name.startswith("_"))


def format_class(name: object) -> type[CompressedMatrix]:
    """The class in the file `name`. Other formats are not imported, as some take a while.

    Raises:
        ValueError: if there is no such format.
    """
    if name not in names():
        raise ValueError(f"unknown format {name!r}: there are {', '.join(names())}")
    module = importlib.import_module(f"{__name__}.{name}")
    (matrix_class,) = [
        value
        for value in vars(module).values()
        if isinstance(value, type) and getattr(value, "format", None) == name
    ]
    return matrix_class
