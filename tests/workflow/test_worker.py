"""The worker of a local run, with scripts that import nothing."""

import os
import signal
import socket
import subprocess
import sys
import time

import pytest

from .runs import ROOT

SERVER = """
import sys
from pathlib import Path
sys.path.insert(0, {scripts!r})
import worker
worker.import_libraries = lambda: None
worker.serve(Path(sys.argv[1]), int(sys.argv[2]))
"""
CLIENT = """
import sys
sys.path.insert(0, {scripts!r})
from worker import CLIENT_SECONDS, VARIABLE, run_in_worker
status = run_in_worker(sys.argv[0])
if status is not None:
    sys.exit(status)
import os
print("alone" if CLIENT_SECONDS not in os.environ else "in the worker")
"""
SCRIPTS = str(ROOT / "workflow/scripts")


SLOW_LISTEN = """
import socket, time
class Slow(socket.socket):
    def listen(self):
        time.sleep(0.3)
        super().listen()
socket.socket = Slow
"""


@pytest.fixture
def server(tmp_path, monkeypatch):
    """A running worker, which a client finds no sooner than it listens."""
    monkeypatch.chdir(tmp_path)  # the path of a socket is limited to 107 characters
    code = SLOW_LISTEN + SERVER.format(scripts=SCRIPTS)
    server = subprocess.Popen([sys.executable, "-c", code, "worker", str(os.getpid())])
    while not (tmp_path / "worker").exists():
        assert server.poll() is None
        time.sleep(0.01)
    yield server
    server.kill()
    server.wait()


@pytest.fixture
def environment(server):
    """Environment of a job beside a running worker."""
    return os.environ | {"EMBPRESS_WORKER": f"worker:{sys.executable}"}


def start(body, environment):
    """Start a script that runs its body in the worker."""
    with open("script.py", "w") as file:
        file.write(CLIENT.format(scripts=SCRIPTS) + body)
    return subprocess.Popen(
        [sys.executable, "script.py"],
        env=environment,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )


def finish(body, environment):
    """Exit status, and what a script printed to standard output and error."""
    script = start(body, environment)
    printed, errors = script.communicate(timeout=60)
    return script.returncode, printed, errors


@pytest.mark.skipif(sys.platform != "linux", reason="Linux alone ends it with its parent")
def test_a_worker_whose_parent_has_ended_before_it_began_ends_at_once(tmp_path, monkeypatch):
    """Else it would hold the terminal of the killed run."""
    monkeypatch.chdir(tmp_path)
    ended = subprocess.Popen([sys.executable, "-c", ""])
    ended.wait()
    code = SERVER.format(scripts=SCRIPTS)
    server = subprocess.run(
        [sys.executable, "-c", code, "worker", str(ended.pid)], timeout=60, check=False
    )
    assert server.returncode == -signal.SIGKILL and not (tmp_path / "worker").exists()


@pytest.mark.parametrize(("body", "status"), [("", 0), ("sys.exit(3)", 3), ("sys.exit('no')", 1)])
def test_script_runs_in_the_worker_with_the_terminal_and_status_of_its_process(
    environment, body, status
):
    assert finish(body, environment)[:2] == (status, "in the worker\n")


def test_error_of_a_script_fails_its_process_with_the_traceback(environment):
    status, _, errors = finish("raise ValueError('of the script')", environment)
    assert status == 1
    assert "ValueError: of the script" in errors


def test_script_that_is_killed_fails_its_process(environment):
    status, _, errors = finish("os.kill(os.getpid(), 9)", environment)
    assert status == 1
    assert "killed" in errors


def test_client_that_finds_the_socket_is_not_refused(server):
    with socket.socket(socket.AF_UNIX) as client:
        client.connect("worker")


def test_next_script_runs_after_one_that_was_killed(environment):
    finish("os.kill(os.getpid(), 9)", environment)
    assert finish("", environment)[:2] == (0, "in the worker\n")


def test_script_ends_with_its_process(environment, tmp_path):
    body = "import time; open('pid', 'w').write(str(os.getpid())); os.rename('pid', 'started')\n"
    script = start(body + "time.sleep(600)", environment)
    started = tmp_path / "started"
    while not started.exists():
        time.sleep(0.01)
    pid = int(started.read_text())
    script.kill()
    script.communicate()
    with pytest.raises(ProcessLookupError):
        for _ in range(1000):
            os.kill(pid, 0)
            time.sleep(0.01)


def test_interrupted_script_ends_with_its_process(environment, tmp_path):
    script = start("import time; open('started', 'w'); time.sleep(600)", environment)
    while not (tmp_path / "started").exists():
        time.sleep(0.01)
    script.send_signal(signal.SIGINT)
    script.communicate(timeout=60)
    assert script.returncode not in (0, None)


@pytest.mark.parametrize("place", ["absent:" + sys.executable, "worker:/other/python", "off"])
def test_script_runs_alone_without_a_worker_for_its_python(environment, place):
    status = finish("", environment | {"EMBPRESS_WORKER": place})
    assert status[:2] == (0, "alone\n")


def test_client_that_is_killed_before_its_script_runs_leaves_no_traceback(
    server, environment, tmp_path
):
    """Snakemake removes the script of a killed job, perhaps before the worker reads it."""
    with (tmp_path / "errors").open("w") as errors:
        server.send_signal(signal.SIGSTOP)
        for _ in range(40):  # The processes of some fail before they end with their client.
            with socket.socket(socket.AF_UNIX) as client:
                client.connect("worker")
                request = f"0:{tmp_path / 'removed.py'}".encode()
                socket.send_fds(client, [request], [errors.fileno(), errors.fileno()])
        server.send_signal(signal.SIGCONT)
        assert finish("", environment)[0] == 0  # The worker accepts clients in their order.
        time.sleep(0.5)
    assert (tmp_path / "errors").read_text() == ""
