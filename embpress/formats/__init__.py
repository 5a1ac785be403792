"""How compressed matrices are stored and decoded: one file a layout, without any method's training code."""

import importlib
import pkgutil

from .base import CompressedMatrix


def formats() -> dict[str, type[CompressedMatrix]]:
    """All layouts in this folder by name."""
    found = {}
    for module in pkgutil.iter_modules(__path__):
        for value in vars(importlib.import_module(f"{__name__}.{module.name}")).values():
            if isinstance(value, type) and issubclass(value, CompressedMatrix) and hasattr(value, "format"):
                found[value.format] = value
    return found
