"""Loops that no array operation expresses.

Compiled by numba on first use and kept for the next process.
"""

import hashlib
from collections.abc import Callable
from pathlib import Path
from typing import Any, TypeVar, cast

import numba

Function = TypeVar("Function", bound=Callable[..., Any])

PACKAGE = Path(__file__).parents[1]


def _sources() -> str:
    """A digest of all of the package's source."""
    digest = hashlib.sha256()
    for path in sorted(PACKAGE.rglob("*.py")):
        digest.update(path.read_bytes())
    return digest.hexdigest()[:16]


FOLDER = PACKAGE / "__pycache__" / f"numba-{_sources()}"
"""Where compiled code is kept. By itself numba looks only at the file that a function stands in,
and would go on with what it compiled before a constant or a function of another file changed."""


def compiled(function: Function, **options: Any) -> Function:
    """Compile a function of numbers and numpy arrays; it runs without Python's lock, so threads may
    share its work.

    Options are those of numba.njit.
    """
    config: Any = numba.config
    before = config.CACHE_DIR
    config.CACHE_DIR = before or str(FOLDER)
    try:
        return cast(Function, numba.njit(function, cache=True, nogil=True, **options))
    finally:
        config.CACHE_DIR = before
