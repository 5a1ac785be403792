import io
import json

import pytest

from embpress.pipeline.job_records import read_job_records
from embpress.pipeline.progress import PlannedJob, Progress, StatusLine, duration

from ..terminal import screen


def write_record(path, rule, seconds, threads=1):
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps({"rule": rule, "seconds": seconds, "threads": threads}))


@pytest.fixture
def logs(tmp_path):
    """Records of an earlier run: two fits and an evaluation."""
    write_record(tmp_path / "compress/a.json", "compress", 10)
    write_record(tmp_path / "compress/b.json", "compress", 30)
    write_record(tmp_path / "evaluate/a.json", "evaluate", 40, threads=2)
    return tmp_path


def progress_of(logs, *names):
    jobs = {
        number: PlannedJob(name.partition("/")[0], logs / f"{name}.json")
        for number, name in enumerate(names)
    }
    return Progress(jobs, read_job_records(logs))


def test_jobs_are_expected_to_take_as_long_as_in_the_earlier_run(logs):
    progress = progress_of(logs, "compress/a", "compress/b", "evaluate/a")
    assert progress.seconds_left(slots=2) == (10 + 30 + 2 * 40) / 2
    progress.finish(1)
    assert (progress.n_done, progress.n_jobs) == (1, 3)
    assert progress.seconds_left(slots=1) == 10 + 2 * 40
    # The last jobs run side by side, so that the longest one counts.
    assert progress.seconds_left(slots=2) == 2 * 40


def test_a_new_job_is_expected_to_take_the_mean_of_its_rule_or_of_all(logs):
    assert progress_of(logs, "compress/new", "compress/b").seconds_left(slots=1) == 20 + 30
    assert progress_of(logs, "tables/new", "compress/b").seconds_left(slots=1) == 120 / 3 + 30


def test_a_first_run_learns_from_its_own_jobs(tmp_path):
    progress = progress_of(tmp_path, "compress/a", "compress/b", "compress/c")
    assert progress.line(slots=1, now=0) == "0 of 3 jobs done"
    write_record(tmp_path / "compress/a.json", "compress", 60)
    progress.finish(0)
    assert progress.line(slots=1, now=0).startswith("1 of 3 jobs done, about 2 min left (until ")


def test_records_that_are_no_json_and_jobs_without_a_record_do_not_count(logs):
    (logs / "compress/half.json").write_text('{"rule": "comp')
    jobs = {0: PlannedJob("all", None), 1: PlannedJob("compress", logs / "compress/half.json")}
    progress = Progress(jobs, read_job_records(logs))
    assert progress.seconds_left(slots=1) == 20
    progress.finish(0)
    progress.finish(1)
    assert progress.seconds_left(slots=1) == 0 and progress.n_done == 2


def test_durations():
    assert [duration(s) for s in (0.4, 59, 61, 3540, 3600, 9000)] == [
        *("0 s", "59 s", "1 min", "59 min", "1 h 0 min", "2 h 30 min")
    ]


def test_one_line_changes_below_all_others(monkeypatch):
    monkeypatch.setenv("COLUMNS", "20")
    terminal = io.StringIO()
    status = StatusLine(terminal)
    status.write("first job\n")
    status.show("1 of 2 jobs done")
    status.show("2 of 2 done")
    status.write("second job\n")
    status.flush()
    assert screen(terminal.getvalue()) == ["first job", "second job", "2 of 2 done"]
    status.show("a line of progress that is too long for the terminal")
    assert screen(terminal.getvalue())[-1] == "a line of progress "
    status.show("")
    assert screen(terminal.getvalue()) == ["first job", "second job", ""]
    assert status.isatty() is False  # as the stream itself
