"""A process with all libraries imported, which forks one process for each job of a local run.

Importing torch and transformers takes longer than most jobs of a study. The worker imports them
once. A job's own process, which Snakemake starts, sends the name of its script to the worker and
waits for the exit status. The forked process writes to the terminal of the job's own process.

The worker is optional. Without one (on a cluster, in a conda environment of its own, with
EMBPRESS_WORKER=off) each job runs in its own process.
"""

import gc
import importlib
import os
import runpy
import signal
import socket
import sys
import threading
import time
import traceback
from contextlib import suppress
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
# The library is beside the workflow.
sys.path.insert(0, str(ROOT))

from process import CLIENT_SECONDS, cpu_seconds, die_with_parent, set_environment, time_record

from embpress.files import write_json
from embpress.numerics.memory import keep_freed_memory

VARIABLE = "EMBPRESS_WORKER"
"""Environment variable with the worker's socket and Python, separated by a colon."""
MESSAGE_BYTES = 4096
RECORD = Path("results/logs/worker.json")
"""Where the worker records the time of its imports, beside the records of jobs."""
LIBRARIES = (
    "embpress.pipeline.evaluation",
    "embpress.pipeline.layer_compression",
    "embpress.models.sensitivity",
    "embpress.training.fine_tuning",
    "embpress.training.students",
    "transformers.models.bert.modeling_bert",
    "pandas",
)
"""Modules that the worker imports, beside all formats, methods and kinds of tasks."""


def run_in_worker(script: str) -> int | None:
    """Run a script in the worker, if there is one for this Python.

    Returns:
        The exit status of the script, or None if there is no worker.
    """
    path, _, python = os.environ.get(VARIABLE, "").partition(":")
    if python != sys.executable:
        return None
    with socket.socket(socket.AF_UNIX) as connection:
        try:
            connection.connect(path)
        except OSError:  # the worker has ended, or runs on another machine
            return None
        request = f"{time.process_time()}:{script}".encode()
        try:
            socket.send_fds(connection, [request], [sys.stdout.fileno(), sys.stderr.fileno()])
            status = connection.recv(1)
        except ConnectionError:  # it ended before it had read the request
            status = b""
    if not status:
        print("the job was killed, perhaps for lack of memory", file=sys.stderr)
        return 1
    return status[0]


def serve(path: Path, parent: int) -> None:
    """Fork a process for each script that is sent to a socket, until the parent process ends."""
    die_with_parent(parent)
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # jobs are interrupted by their own process
    signal.signal(signal.SIGCHLD, signal.SIG_IGN)  # so that no zombies are left
    with socket.socket(socket.AF_UNIX) as server:
        unready = path.with_name("bound")  # no longer than the name of the socket, which is limited
        server.bind(str(unready))
        server.listen()  # jobs that come during the imports wait
        unready.rename(path)  # a client that finds the socket is never refused
        started = time.perf_counter()
        import_libraries()
        seconds = time.perf_counter() - started
        write_json(RECORD, time_record("worker", {}, 1, seconds, cpu_seconds()))
        gc.freeze()  # a collection in a forked process would copy all pages
        with keep_freed_memory():  # in all forked processes, which end soon
            own = os.getpid()
            while True:
                connection, _ = server.accept()
                if os.fork() == 0:
                    server.close()
                    os._exit(run_script(connection, own))
                connection.close()


def import_libraries() -> None:
    """Import what jobs of one thread import, offline."""
    set_environment(threads=1, offline=True)
    # torch then looks for a GPU without starting CUDA, which a forked process could not use.
    os.environ["PYTORCH_NVML_BASED_CUDA_CHECK"] = "1"
    for name in LIBRARIES:
        importlib.import_module(name)
    for package in ("formats", "methods", "tasks"):
        for file in sorted((ROOT / "embpress" / package).glob("*.py")):
            importlib.import_module(f"embpress.{package}.{file.stem}".removesuffix(".__init__"))


def run_script(connection: socket.socket, parent: int) -> int:
    """Run the script that a client sends, in a forked process, and send its exit status back."""
    die_with_parent(parent)
    signal.signal(signal.SIGINT, signal.default_int_handler)
    signal.signal(signal.SIGCHLD, signal.SIG_DFL)
    request, descriptors, _, _ = socket.recv_fds(connection, MESSAGE_BYTES, 2)
    for number, descriptor in enumerate(descriptors, start=1):
        os.dup2(descriptor, number)
        os.close(descriptor)
    seconds, _, script = request.decode().partition(":")
    os.environ[CLIENT_SECONDS] = seconds
    threading.Thread(target=_end_with_client, args=(connection,), daemon=True).start()
    status = 0
    try:
        runpy.run_path(script, run_name="__main__")
    except SystemExit as error:
        status = error.code if isinstance(error.code, int) else bool(error.code)
    except BaseException:
        if _has_client(connection):  # whose script and folders may be gone otherwise
            traceback.print_exc()
        status = 1
    sys.stdout.flush()
    sys.stderr.flush()
    with suppress(ConnectionError):  # the client was killed
        connection.send(bytes([status]))
    return status


def _has_client(connection: socket.socket) -> bool:
    try:
        return bool(connection.recv(1, socket.MSG_PEEK | socket.MSG_DONTWAIT))
    except BlockingIOError:  # open, but nothing was sent
        return True
    except ConnectionError:
        return False


def _end_with_client(connection: socket.socket) -> None:
    """End this process if the job's own process ends before it."""
    if not connection.recv(1):
        os.kill(os.getpid(), signal.SIGKILL)


if __name__ == "__main__":
    serve(Path(sys.argv[1]), int(sys.argv[2]))
