"""What a run writes to the terminal: short lines for jobs that succeed, all of an error."""

import re

from ..tiny_study import finish, start, write_study


def test_a_job_that_succeeds_takes_short_lines_and_one_that_fails_is_shown_in_full(tmp_path):
    write_study(tmp_path)
    target = "results/frequency/texts/words.tsv"
    status, output = finish(start(tmp_path, target))
    assert status == 0, output
    assert "Job 0: counting words of texts" in output
    assert not re.search("Reason|params|wildcards", output)
    assert max(len(line) for line in output.partition("Job stats")[2].splitlines()) < 200

    (tmp_path / "results/corpora/texts/counted.jsonl").write_text("no JSON\n")
    status, output = finish(start(tmp_path, target))
    assert status != 0
    assert "results/logs/words/texts.log (check log file(s) for error details)" in output
    assert "JSONDecodeError" in output and "JSONDecodeError" in (
        (tmp_path / "results/logs/words/texts.log").read_text()
    )
