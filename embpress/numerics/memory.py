"""Give freed memory back to the system."""

import ctypes
from contextlib import suppress


def give_back() -> None:
    """Return what was freed, of which glibc keeps some hundred MiB after work on large matrices.

    Elsewhere do nothing.
    """
    with suppress(OSError, AttributeError):
        ctypes.CDLL("libc.so.6").malloc_trim(0)
