"""How much memory the process holds, and how glibc returns freed memory to the operating system.

Other C libraries are left alone.
"""

import ctypes
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import NamedTuple

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


class ResidentBytes(NamedTuple):
    """Resident memory of this process in bytes."""

    now: int
    peak: int
    """The most since the process started or `restart_peak` was called."""


def resident_bytes() -> ResidentBytes:
    """Read the resident memory of this process.

    Raises:
        OSError: if the system is not Linux.
    """
    lines = Path("/proc/self/status").read_text().splitlines()
    kibibytes = {line.split(":")[0]: line.split()[1] for line in lines if line.endswith(" kB")}
    return ResidentBytes(1024 * int(kibibytes["VmRSS"]), 1024 * int(kibibytes["VmHWM"]))


def restart_peak() -> None:
    """Let the peak of `resident_bytes` begin with the present memory.

    Raises:
        OSError: if the system is not Linux.
    """
    Path("/proc/self/clear_refs").write_text("5")
