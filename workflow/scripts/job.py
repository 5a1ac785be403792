"""What every script does around its one call.

Find the library, log, end on one clear sentence, record time and memory.
"""

import ctypes
import errno
import json
import logging
import os
import resource
import signal
import sys
import time
import traceback
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

# The library lies beside the workflow; in a conda environment no path is set for it.
sys.path.insert(0, str(Path(__file__).resolve().parents[2]))

from embpress.errors import UserError
from embpress.files import write_json

SECONDS_BETWEEN_LINES = 5
PR_SET_PDEATHSIG = 1


@contextmanager
def run(snakemake: Any, offline: bool = True) -> Iterator[logging.Logger]:
    """Run a script's body with its log on the terminal and in the rule's log file.

    Only a job that is there to download may ask the hub: not `offline`.

    An error of the user's ends the job on its message alone; any other leaves its traceback in the
    log file.
    """
    if (
        sys.platform == "linux"
    ):  # a job must not outlive a workflow that is killed, and write what the next one writes too
        ctypes.CDLL(None).prctl(PR_SET_PDEATHSIG, signal.SIGKILL)
    os.environ["OMP_NUM_THREADS"] = str(snakemake.threads)  # before torch is imported
    os.environ["OPENBLAS_THREAD_TIMEOUT"] = (
        "4"  # numpy's threads wait for torch's no longer than that (2^4 cycles)
    )
    if offline:
        os.environ["HF_HUB_OFFLINE"] = os.environ["HF_DATASETS_OFFLINE"] = "1"
    os.environ["TOKENIZERS_PARALLELISM"] = "false"
    log_file = Path(snakemake.log[0])
    about = " ".join([snakemake.rule, *map(str, snakemake.wildcards)])
    logging.basicConfig(
        level=logging.INFO,
        format=f"%(asctime)s {about}: %(message)s",
        datefmt="%H:%M:%S",
        handlers=[
            logging.StreamHandler(),
            logging.FileHandler(log_file, mode="w", encoding="utf-8"),
        ],
        force=True,
    )
    logging.raiseExceptions = (
        False  # a log that cannot be written is not what to tell of a full disk
    )
    logging.getLogger("fontTools").setLevel(logging.WARNING)  # tells every glyph of a figure
    log = logging.getLogger("embpress")
    started = time.perf_counter()
    try:
        yield log
    except UserError as error:
        log.error("%s", error)
        sys.exit(1)
    except Exception as error:
        if reason := disk_trouble(error):
            path = getattr(error, "filename", None) or snakemake.output[0]
            log.error("cannot write %s: %s; make room or give leave, then run again", path, reason)
            sys.exit(1)
        with log_file.open("a", encoding="utf-8") as file:
            file.write(traceback.format_exc())
        raise
    record = {
        "rule": snakemake.rule,
        "wildcards": dict(snakemake.wildcards.items()),
        "threads": snakemake.threads,
        "seconds": round(time.perf_counter() - started, 2),
        "peak_mb": round(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024),
    }
    write_json(log_file.with_suffix(".json"), record)


def disk_trouble(error: Exception) -> str | None:
    """What the system says of a disk that cannot be written; None for other errors.

    Libraries pass it on as text only.
    """
    reasons = [
        os.strerror(code) for code in (errno.ENOSPC, errno.EDQUOT, errno.EACCES, errno.EROFS)
    ]
    return next((reason for reason in reasons if reason in str(error)), None)


def throttled(log: logging.Logger) -> Callable[[str], None]:
    """A progress function that lets a line through every few seconds."""
    last = time.monotonic()

    def progress(line: str) -> None:
        nonlocal last
        if time.monotonic() - last >= SECONDS_BETWEEN_LINES:
            last = time.monotonic()
            log.info("%s", line)

    return progress


def read_study(snakemake: Any) -> Any:
    """The typed study of a rule's `params.study`."""
    from embpress.study.study import Study
    from embpress.tasks import parse_entry

    return Study.from_config(snakemake.params.study, parse_entry)


def read_json(path: str | Path) -> Any:
    """A JSON file."""
    return json.loads(Path(path).read_text())
