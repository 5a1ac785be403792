"""How glibc returns freed memory to the operating system. Other C libraries are left alone."""

import ctypes
from collections.abc import Iterator
from contextlib import contextmanager, suppress

TRIM_THRESHOLD, MMAP_MAX = -1, -4  # of glibc's <malloc.h>
DEFAULTS = {TRIM_THRESHOLD: 128 << 10, MMAP_MAX: 65536}
LARGEST = (1 << 31) - 1


def malloc_trim() -> None:
    """Return all freed memory, of which glibc keeps some hundred MiB after work on large matrices.

    Does nothing with another C library.
    """
    with suppress(OSError, AttributeError):
        ctypes.CDLL("libc.so.6").malloc_trim(0)


@contextmanager
def keep_freed_memory() -> Iterator[None]:
    """Keep freed memory for the next allocations, and return it at the end.

    For loops that allocate the same large tensors in each pass: glibc would return those above
    32 MiB each time, and the system would clear their pages again.
    """
    _set_malloc_options({TRIM_THRESHOLD: LARGEST, MMAP_MAX: 0})
    try:
        yield
    finally:
        _set_malloc_options(DEFAULTS)
        malloc_trim()


def _set_malloc_options(options: dict[int, int]) -> None:
    """Set glibc's options of malloc."""
    with suppress(OSError, AttributeError):
        library = ctypes.CDLL("libc.so.6")
        for option, value in options.items():
            library.mallopt(option, value)
