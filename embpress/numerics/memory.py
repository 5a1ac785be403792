"""Return freed memory to the operating system."""

import ctypes
from contextlib import suppress


def malloc_trim() -> None:
    """Call glibc's malloc_trim; does nothing with another C library.

    Without it glibc keeps some hundred MiB of freed memory after work on large matrices.
    """
    with suppress(OSError, AttributeError):
        ctypes.CDLL("libc.so.6").malloc_trim(0)
