"""What a run writes to the terminal: short lines for jobs that succeed, all of an error."""

import re

from ..terminal import run_in_terminal, screen
from ..tiny_study import finish, start, workflow_command, workflow_environment, write_study


def test_a_job_that_succeeds_takes_one_line_and_one_that_fails_is_shown_in_full(tmp_path):
    write_study(tmp_path)
    target = "results/frequency/texts/words.tsv"
    status, output = finish(start(tmp_path, target, terminal="short"))
    assert status == 0, output
    jobs = output.partition("Job stats")[2].partition("total")[2].partition("steps (100%) done")[0]
    lines = [line for line in jobs.splitlines()[1:-1] if line]
    started = [line for line in lines if re.match(r"\d\d:\d\d:\d\d \[\d+/3\] ", line)]
    assert len(started) == 3 and started[-1].endswith("[2/3] counting words of texts")
    # Beside them are the jobs' own messages only.
    assert all(re.match(r"\d\d:\d\d:\d\d ", line) and len(line) < 200 for line in lines)

    (tmp_path / "results/corpora/texts/counted.jsonl").write_text("no JSON\n")
    status, output = finish(start(tmp_path, target, terminal="short"))
    assert status != 0
    assert "results/logs/words/texts.log (check log file(s) for error details)" in output
    assert "JSONDecodeError" in output and "JSONDecodeError" in (
        (tmp_path / "results/logs/words/texts.log").read_text()
    )


def test_a_terminal_shows_one_line_a_job_and_a_line_of_progress_that_goes_in_the_end(tmp_path):
    write_study(tmp_path)
    command = workflow_command("results/frequency/texts/words.tsv")
    status, written = run_in_terminal(command, tmp_path, workflow_environment("short"))
    assert status == 0, written
    assert "1 of 3 jobs done, about " in written and "2 of 3 jobs done, about " in written
    shown = [re.sub(r"\x1b\[[\d;]*m", "", line) for line in screen(written)]
    lines = [line for line in shown if re.match(r"\d\d:\d\d:\d\d ", line)]
    assert len(lines) == 3 and all("] " in line for line in lines)
    assert not any("jobs done" in line for line in shown)


def test_what_is_no_terminal_gets_no_line_that_changes(tmp_path):
    write_study(tmp_path)
    _, output = finish(start(tmp_path, "results/packages/tiny-texts.whl", terminal="short"))
    assert "downloading tiny-texts" in output
    assert "jobs done" not in output and "\r" not in output and "\x1b[K" not in output
