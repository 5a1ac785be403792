"""embpress: compress the token embeddings of language models, and measure what that costs."""

import importlib
from typing import Any

__version__ = "0.1.0"

_OFFERED = {
    "load": "export.artefact",
    "compress_model": "export.compress",
    "inspect": "export.inspection",
    "best_under": "export.ranking",
}
"""What the package offers, and its module.

Imported when asked for, as `embpress.study` must import without torch.
"""


def __getattr__(name: str) -> Any:
    if name not in _OFFERED:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(importlib.import_module(f".{_OFFERED[name]}", __name__), name)


def __dir__() -> list[str]:
    return sorted([*globals(), *_OFFERED])
