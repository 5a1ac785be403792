"""The context in which every script of the workflow runs: logs, errors, time and memory."""

import builtins
import errno
import json
import logging
import os
import signal
import sys
import time
import traceback
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

# The library is beside the workflow. A conda environment of a rule does not contain it.
sys.path.insert(0, str(Path(__file__).resolve().parents[2]))

from process import client_seconds, die_with_parent, set_environment, time_record
from worker import run_in_worker

from embpress.errors import UserError
from embpress.files import write_json
from embpress.numerics.timing import STARTUP
from embpress.training.launcher import is_launched, is_main_process, launch

SECONDS_BETWEEN_LINES = 5
CHATTY_LIBRARIES = ("faiss.loader", "fontTools")
"""Loggers that write an INFO line for each library that is tried, or each glyph of a figure."""


@contextmanager
def run(snakemake: Any, offline: bool = True, trains: bool = False) -> Iterator[logging.Logger]:
    """Run the body of a script, with its log on the terminal and in the rule's log file.

    If there is a worker, the script runs there and this process only waits for it. A UserError or
    a disk that cannot be written ends the job with one sentence. The traceback of any other error
    is written to the log file. Time and peak memory of a job that succeeds are written beside its
    log file, as JSON.

    Args:
        snakemake: the object that Snakemake gives to scripts.
        offline: forbid the Hugging Face libraries to use the network. Only jobs that download
            switch this off.
        trains: whether the script trains a model. With the resource `gpu` above 1, it is then run
            in as many processes, which train together.
    """
    die_with_parent()  # the next run writes to the same files
    processes = max(1, int(snakemake.resources.get("gpu", 0))) if trains else 1
    # Libraries read the number of threads and the network mode when they are imported. The worker
    # imports them for one thread, offline.
    if offline and snakemake.threads == processes == 1:
        status = run_in_worker(sys.argv[0])
        if status is not None:
            sys.exit(status)
    STARTUP.seconds = time.process_time() + client_seconds()
    set_environment(max(1, snakemake.threads // processes), offline)
    log_file = Path(snakemake.log[0])
    log = _start_log(log_file, " ".join([snakemake.rule, *map(str, snakemake.wildcards)]))
    if processes > 1 and not is_launched():
        sys.exit(_launch(processes, log_file, log))
    started = time.perf_counter()
    try:
        with _imports_timed():
            yield log
    except UserError as error:
        log.error("%s", error)
        sys.exit(1)
    except Exception as error:
        if reason := disk_trouble(error):
            path = getattr(error, "filename", None) or snakemake.output[0]
            log.error(
                "cannot write %s: %s; free disk space or fix permissions, then rerun", path, reason
            )
            sys.exit(1)
        with log_file.open("a", encoding="utf-8") as file:
            file.write(traceback.format_exc())
        raise
    if not is_main_process():
        return
    wildcards = dict(snakemake.wildcards.items())
    seconds = time.perf_counter() - started
    record = time_record(snakemake.rule, wildcards, snakemake.threads, seconds, STARTUP.seconds)
    write_json(log_file.with_suffix(".json"), record | _gpu_record())


@contextmanager
def _imports_timed() -> Iterator[None]:
    """Count the processor time of import statements as start-up."""
    import_module = builtins.__import__

    def timed(*args: Any, **options: Any) -> Any:
        with STARTUP:
            return import_module(*args, **options)

    builtins.__import__ = timed
    try:
        yield
    finally:
        builtins.__import__ = import_module


def _start_log(log_file: Path, job_name: str) -> logging.Logger:
    """Send messages to a new log file and to the output, each line with time and job.

    A terminal shows warnings and errors only, as the workflow shows one line for each job there
    (workflow/rules/terminal.smk). Of processes that train together only the first writes messages;
    errors of all are in the file.
    """
    mode = "a" if is_launched() else "w"
    output = logging.StreamHandler()
    if is_launched():  # all may fail alike: the process that launched them shows one error
        output.addFilter(lambda record: record.levelno < logging.ERROR)
    if sys.stderr.isatty() and os.environ.get("EMBPRESS_TERMINAL") != "full":
        output.setLevel(logging.WARNING)
        output.terminator = "\x1b[K\n"  # what is left of the line of progress
    logging.basicConfig(
        level=logging.INFO if is_main_process() else logging.ERROR,
        format=f"%(asctime)s {job_name}: %(message)s",
        datefmt="%H:%M:%S",
        handlers=[output, logging.FileHandler(log_file, mode=mode, encoding="utf-8")],
        force=True,
    )
    # If the disk is full, the job's own error is reported, not that its log cannot be written.
    logging.raiseExceptions = False
    for name in CHATTY_LIBRARIES:
        logging.getLogger(name).setLevel(logging.WARNING)
    return logging.getLogger("embpress")


def _launch(processes: int, log_file: Path, log: logging.Logger) -> int:
    """Run this script in several processes that train together; returns its exit status."""
    status = launch(sys.argv[0], processes)
    if status < 0:
        log.error("one of %d processes was ended by %s", processes, signal.Signals(-status).name)
    elif status > 0:
        print(log_file.read_text(encoding="utf-8").splitlines()[-1], file=sys.stderr)
    return min(1, abs(status))


def disk_trouble(error: Exception) -> str | None:
    """The system's message if a disk is full, over quota or not writable; None for other errors.

    The message is searched for in the error's text, as libraries raise errors of their own types.
    """
    codes = (errno.ENOSPC, errno.EDQUOT, errno.EACCES, errno.EROFS)
    messages = [os.strerror(code) for code in codes]
    return next((message for message in messages if message in str(error)), None)


def throttled(log: logging.Logger) -> Callable[[str], None]:
    """A function that logs a line of progress, at most one every SECONDS_BETWEEN_LINES."""
    last = time.monotonic()

    def progress(line: str) -> None:
        nonlocal last
        if time.monotonic() - last >= SECONDS_BETWEEN_LINES:
            last = time.monotonic()
            log.info("%s", line)

    return progress


def read_device(snakemake: Any) -> Any:
    """The torch device of the study's key `device`."""
    from embpress.numerics.device import choose_device

    return choose_device(snakemake.config["device"])


def _gpu_record() -> dict[str, Any]:
    """Name of the GPU that a job used, and its peak memory there; empty for a job on the CPU."""
    torch = sys.modules.get("torch")
    if torch is None or not torch.cuda.is_initialized():
        return {}
    return {
        "gpu": torch.cuda.get_device_name(),
        "gpu_peak_mb": round(torch.cuda.max_memory_allocated() / 2**20),
    }


def read_study(snakemake: Any) -> Any:
    """The typed study of a rule's `params.study`."""
    from embpress.study.study import Study
    from embpress.tasks import parse_entry

    return Study.from_config(snakemake.params.study, parse_entry)


def counted_corpus(snakemake: Any, name: str) -> Any:
    """The files of a counted corpus, from the rule's inputs and `params.corpora`."""
    from embpress.data.corpus_tokens import CountedCorpus

    entry = snakemake.params.corpora[name]
    folder = snakemake.input.get(f"folder_{name}")
    return CountedCorpus(
        name,
        Path(snakemake.input[f"words_{name}"]),
        Path(snakemake.input[f"texts_{name}"]),
        entry.get("segmenter"),
        folder and Path(folder),
        entry.get("column", "text"),
        entry.get("held_out", 0.0),
    )


def read_json(path: str | Path) -> Any:
    """Read a JSON file."""
    return json.loads(Path(path).read_text())
