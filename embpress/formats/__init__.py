"""How compressed matrices are stored and decoded.

One file a layout, without any method's training code.
"""

import importlib
import pkgutil

from ._base import CompressedMatrix


def names() -> list[str]:
    """Names of all layouts: the names of the files in this folder."""
    return sorted(m.name for m in pkgutil.iter_modules(__path__) if not m.name.startswith("_"))


def format_class(name: object) -> type[CompressedMatrix]:
    """The layout in the file `name`; no other is imported, as some take a while.

    Raises:
        ValueError: if there is no such layout.
    """
    if name not in names():
        raise ValueError(f"format {name!r} is none of {', '.join(names())}")
    module = importlib.import_module(f"{__name__}.{name}")
    (found,) = [
        v
        for v in vars(module).values()
        if isinstance(v, type) and getattr(v, "format", None) == name
    ]
    return found
