"""Compile loops that no array operation expresses with numba, and cache the code on disk."""

import hashlib
from collections.abc import Callable
from pathlib import Path
from typing import Any, TypeVar, cast

import numba

Function = TypeVar("Function", bound=Callable[..., Any])

PACKAGE = Path(__file__).parents[1]


def _sources() -> str:
    """Digest of the source of the whole package."""
    digest = hashlib.sha256()
    for path in sorted(PACKAGE.rglob("*.py")):
        digest.update(path.read_bytes())
    return digest.hexdigest()[:16]


FOLDER = PACKAGE / "__pycache__" / f"numba-{_sources()}"
"""Cache of compiled code.

numba's own key is the file that defines a function: it would reuse code that was compiled before a
constant or a function of another file changed.
"""


def is_cached() -> bool:
    """Whether code of this version of the package was compiled before."""
    folder = Path(getattr(numba.config, "CACHE_DIR", "") or FOLDER)
    return any(folder.glob("**/*.nbi"))


def compiled(function: Function, **options: Any) -> Function:
    """Compile a function of numbers and numpy arrays with numba.njit and its options.

    The function releases the global interpreter lock, so that threads run it in parallel.
    """
    config: Any = numba.config
    before = config.CACHE_DIR
    config.CACHE_DIR = before or str(FOLDER)
    try:
        return cast(Function, numba.njit(function, cache=True, nogil=True, **options))
    finally:
        config.CACHE_DIR = before
