"""Runs that are killed, starved, cheated and doubled: the next command finishes, with the results
of an unbroken run.

All on a study of seconds with data of its own. Moments of kills are drawn by a fixed seed, but load
moves them.
"""

import os
import re
import shutil
import signal
import subprocess
import time
from pathlib import Path
from random import Random

import pytest

from embpress.files import sha256_of
from tests.tiny_study import finish, start, write_study

# One process for all, so that the unbroken run is made once.
pytestmark = [pytest.mark.integration, pytest.mark.xdist_group("faults")]
KILLS = 20
WHEEL = "wheels/tiny_texts-1-py3-none-any.whl"


def results(folder):
    """Hash of every file that must come out the same.

    Logs, provenance and the speed of lookups tell times.
    """
    root = folder / "results"
    files = [p.relative_to(root) for p in root.rglob("*") if p.is_file()]
    times = [
        p
        for p in files
        if p.parts[0] in ("logs", "provenance.json") or p.stem in ("speed", "latency_vs_size")
    ]
    return {str(p): sha256_of(root / p) for p in files if p not in times}


@pytest.fixture(scope="module")
def study(tmp_path_factory):
    """A study that nobody runs: copied."""
    folder = tmp_path_factory.mktemp("study")
    write_study(folder)
    return folder


@pytest.fixture(scope="module")
def unbroken(study, tmp_path_factory):
    """A run that ends well, and what was told to those that started another, and a dry run.

    Beside it.
    """
    folder = shutil.copytree(study, tmp_path_factory.mktemp("unbroken") / "run")
    first = start(folder)
    until_jobs(first, 1)
    others = [finish(start(folder, *arguments)) for arguments in ([], ["--dry-run"])]
    status, output = finish(first)
    assert status == 0, output[-3000:]
    assert "Reason:" not in output and max(map(len, output.splitlines())) < 500
    return folder, others


@pytest.fixture
def folder(study, tmp_path):
    """The study, not run."""
    return shutil.copytree(study, tmp_path / "run")


def until_jobs(run, n):
    """Read what a run prints until it has started n jobs, or ended."""
    printed = []
    while n and (line := run.stdout.readline()):
        printed.append(line)
        n -= line.startswith("Job ")
    return "".join(printed)


def scripts_of(run):
    """Process ids of the jobs of a run."""
    listed = Path(f"/proc/{run.pid}/task").glob("*/children")
    children = [pid for file in listed for pid in file.read_text().split()]
    return [
        int(pid)
        for pid in children
        if b".snakemake/scripts" in Path(f"/proc/{pid}/cmdline").read_bytes()
    ]


def jobs(output, pattern):
    """What the jobs that a pattern finds said of themselves, without their numbers."""
    about = dict(re.findall(r"^Job (\d+): (.*)$", output, re.MULTILINE))
    return [
        about[number] for number in re.findall(pattern, output, re.MULTILINE) if number in about
    ]


def killed_run(folder, random):
    """Start a run and kill it, or a job of it, at a random moment.

    What it printed, and whether there was one to kill.
    """
    run = start(folder)
    output = until_jobs(run, random.randint(1, 4))
    time.sleep(random.uniform(0, 3))
    kills_workflow = random.random() < 0.5
    victims = [run.pid] if kills_workflow else scripts_of(run)
    alive = run.poll() is None and bool(victims)
    if alive:
        os.kill(random.choice(victims), signal.SIGKILL)
    # Ends only once the jobs have ended too, which hold the pipe: a job that outlives its workflow
    # would write on.
    status, rest = finish(run)
    assert not alive or status != 0
    if alive and kills_workflow:
        unlock(folder)
    return output + rest, alive


def unlock(folder):
    """Remove the lock that a killed workflow leaves."""
    status, output = finish(start(folder, "--unlock"))
    assert status == 0, output[-3000:]


def test_what_is_killed_20_times_ends_as_if_nothing_had_been(unbroken, study, tmp_path):
    random = Random(7)
    kills = 0
    passes = 0
    while kills < KILLS:
        folder = shutil.copytree(study, tmp_path / str(passes))
        finished = set()
        passes += 1
        while kills < KILLS:
            output, killed = killed_run(folder, random)
            kills += killed
            assert "Traceback" not in output and "LockException" not in output, output[-3000:]
            assert not finished & set(jobs(output, r"^Job (\d+):")), "a finished job ran again"
            finished |= set(jobs(output, r"^Finished jobid: (\d+)"))
            if not killed and "Nothing to be done" in output:
                break
        status, output = finish(start(folder))
        assert status == 0, output[-3000:]
        assert not finished & set(jobs(output, r"^Job (\d+):"))
        assert results(folder) == results(unbroken[0])
    print(f"{kills} kills in {passes} runs")


def test_after_a_kill_the_message_names_the_command_that_removes_the_lock(folder):
    target = "results/packages/tiny-texts.whl"
    run = start(folder, target)
    until_jobs(run, 1)
    run.kill()
    finish(run)
    status, output = finish(start(folder, target))
    assert status != 0 and "--unlock" in output and "Traceback" not in output
    unlock(folder)
    status, output = finish(start(folder, target))
    assert status == 0, output[-3000:]


def test_the_second_of_two_runs_is_sent_away_and_the_first_ends_well(unbroken):
    (status, output), (dry_status, dry_output) = unbroken[1]
    assert status != 0 and "make sure that no other Snakemake process" in output
    assert "Traceback" not in output and not re.findall(r"^Job \d+:", output, re.MULTILINE)
    assert dry_status == 0 and "This was a dry-run" in dry_output


@pytest.mark.parametrize("kept", [0.5, 1], ids=["truncated", "altered"])
def test_a_wrong_download_is_refused_and_the_right_one_taken(unbroken, folder, kept):
    right = (folder / WHEEL).read_bytes()
    wrong = bytearray(right[: int(len(right) * kept)])
    wrong[60] ^= 1
    (folder / WHEEL).write_bytes(wrong)
    target = "results/corpora/texts/counted.jsonl"
    status, output = finish(start(folder, target))
    assert status != 0 and "Traceback" not in output
    assert re.search(
        r"tiny-texts==1 (has sha256 .* is pinned: the file was altered|\(.*\): check)", output
    )
    assert not [p for p in (folder / "results").rglob("*") if p.is_file() and "logs" not in p.parts]
    (folder / WHEEL).write_bytes(right)
    status, output = finish(start(folder, target))
    assert status == 0, output[-3000:]
    assert results(folder).items() <= results(unbroken[0]).items()


@pytest.fixture
def small_disk(tmp_path):
    """An own file system of 20 MB."""
    disk = tmp_path / "disk"
    disk.mkdir()
    if subprocess.run(
        ["mount", "-t", "tmpfs", "-o", "size=20m", "tmpfs", disk], capture_output=True
    ).returncode:
        pytest.skip("no leave to mount a tmpfs: not root")
    yield disk
    subprocess.run(["umount", "--lazy", disk], check=True)


@pytest.mark.parametrize("room", [8, 60], ids=lambda kb: f"{kb} kB left")
def test_a_full_disk_is_named_and_once_there_is_room_the_run_goes_on(
    unbroken, study, small_disk, room
):
    folder = shutil.copytree(study, small_disk / "run")
    target = "results/models/bert"
    with (small_disk / "ballast").open("wb") as ballast:
        free = shutil.disk_usage(small_disk).free
        ballast.write(bytes(free - room * 1024))
    status, output = finish(start(folder, target))
    assert status != 0 and "No space left on device" in output
    # With the least room, it is Snakemake that cannot write its own files, and shows where.
    assert room == 8 or ("cannot write results/" in output and "Traceback" not in output), output[
        -3000:
    ]
    (small_disk / "ballast").unlink()
    status, output = finish(start(folder, target))
    assert status == 0, output[-3000:]
    assert results(folder).items() <= results(unbroken[0]).items()
