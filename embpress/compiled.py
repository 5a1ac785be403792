"""Loops that no array operation expresses, compiled by numba on first use and kept beside their source."""

from collections.abc import Callable
from typing import Any, TypeVar, cast

import numba

Function = TypeVar("Function", bound=Callable[..., Any])


def compiled(function: Function) -> Function:
    """Compile a function of numbers and numpy arrays; it runs without Python's lock, so threads may share its work."""
    return cast(Function, numba.njit(function, cache=True, nogil=True))
