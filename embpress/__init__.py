"""embpress: compress the token embeddings of language models, and measure what that costs."""

import importlib
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from .export.compress import compress_model
    from .export.exported_model import load
    from .export.inspection import inspect
    from .export.ranking import RankingSettings, rank_methods
    from .export.whole_model import compress_whole_model
    from .methods import compress

__version__ = "0.1.0"

__all__ = [
    "RankingSettings",
    "__version__",
    "compress",
    "compress_model",
    "compress_whole_model",
    "inspect",
    "load",
    "rank_methods",
]

_MODULES = {
    "RankingSettings": "export.ranking",
    "compress": "methods",
    "compress_model": "export.compress",
    "compress_whole_model": "export.whole_model",
    "inspect": "export.inspection",
    "load": "export.exported_model",
    "rank_methods": "export.ranking",
}
"""Module of each public name, imported at its first use: `embpress.study` must import without
torch."""


def __getattr__(name: str) -> object:
    if name not in _MODULES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(importlib.import_module(f".{_MODULES[name]}", __name__), name)


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
