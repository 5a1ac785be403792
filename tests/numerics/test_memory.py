"""Freed memory that is kept for the next allocation."""

import json
import platform
import subprocess
import sys

import pytest

from ..conftest import ROOT

# In a process of its own: what is free in the heap depends on all that was allocated before.
SCRIPT = """
import json, resource
import torch
from embpress.numerics.memory import keep_freed_memory

def page_faults():
    torch.ones(1 << 24)  # 64 MiB
    before = resource.getrusage(resource.RUSAGE_SELF).ru_minflt
    for _ in range(30):
        torch.ones(1 << 24)
    return resource.getrusage(resource.RUSAGE_SELF).ru_minflt - before

def resident():
    pages = open("/proc/self/statm").read().split()[1]
    return int(pages) * resource.getpagesize()

default = page_faults()
with keep_freed_memory():
    kept = page_faults()
    held = resident()
print(json.dumps([default, kept, held, resident()]))
"""


@pytest.mark.skipif(platform.libc_ver()[0] != "glibc", reason="other C libraries are left alone")
def test_freed_memory_is_kept_and_returned_at_the_end():
    command = [sys.executable, "-c", SCRIPT]
    process = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=True)
    default, kept, held, afterwards = json.loads(process.stdout)
    # The heap grows until it has room for each tensor.
    assert kept < default / 3
    assert afterwards < held - (1 << 25)
