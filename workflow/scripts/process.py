"""What the processes that run jobs share: environment, their end, and the record of their time."""

import ctypes
import os
import resource
import signal
import sys
from typing import Any

CLIENT_SECONDS = "EMBPRESS_CLIENT_SECONDS"
"""Environment variable with the processor seconds that the client of a worker has taken."""
PR_SET_PDEATHSIG = 1  # of Linux's <sys/prctl.h>


def die_with_parent(parent: int | None = None) -> None:
    """End this process when the process that started it ends, in whatever way.

    Args:
        parent: id of that process, if it is known, as it may have ended before this call.
    """
    if sys.platform == "linux":
        ctypes.CDLL(None).prctl(PR_SET_PDEATHSIG, signal.SIGKILL)
        if parent is not None and os.getppid() != parent:
            os.kill(os.getpid(), signal.SIGKILL)


def set_environment(threads: int, offline: bool) -> None:
    """Set the variables that numerical and Hugging Face libraries read when they are imported."""
    os.environ["OMP_NUM_THREADS"] = str(threads)
    # OpenBLAS threads wait for at most 2^4 cycles before they leave the core to torch's threads.
    os.environ["OPENBLAS_THREAD_TIMEOUT"] = "4"
    os.environ["TOKENIZERS_PARALLELISM"] = "false"
    # Progress bars and load reports of every job would hide the workflow's own lines.
    os.environ["TRANSFORMERS_VERBOSITY"] = "error"
    os.environ["HF_HUB_DISABLE_PROGRESS_BARS"] = "1"
    if offline:
        os.environ["HF_HUB_OFFLINE"] = "1"
        os.environ["HF_DATASETS_OFFLINE"] = "1"


def client_seconds() -> float:
    """Processor seconds of the client for which a worker runs this process; 0 without a worker."""
    return float(os.environ.get(CLIENT_SECONDS, 0))


def cpu_seconds() -> float:
    """Processor seconds of this process, of those that it started, and of its client."""
    usages = [resource.getrusage(who) for who in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN)]
    return sum(usage.ru_utime + usage.ru_stime for usage in usages) + client_seconds()


def time_record(
    rule: str, wildcards: dict[str, str], threads: int, seconds: float, startup: float
) -> dict[str, Any]:
    """The record of this process, which `embpress.pipeline.job_records` reads.

    Args:
        rule: name of the rule.
        wildcards: of the job.
        threads: of the job.
        seconds: wall-clock time.
        startup: processor seconds of imports and of loading models.
    """
    return {
        "rule": rule,
        "wildcards": wildcards,
        "threads": threads,
        "seconds": round(seconds, 2),
        "cpu_seconds": round(cpu_seconds(), 2),
        "startup_cpu_seconds": round(startup, 2),
        "peak_mb": round(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024),
    }
