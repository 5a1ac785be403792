"""The papers' study: its whole DAG, as a dry run plans it, is what its documentation says."""

import re
from pathlib import Path

from .runs import planned_jobs

ROOT = Path(__file__).parents[2]


def documented():
    """Jobs by rule out of the table of docs/reference/studies.md."""
    section = (ROOT / "docs/reference/studies.md").read_text().split("## studies/paper.yaml")[1]
    jobs = {}
    for line in section.splitlines():
        found = re.match(r"\| ((?:`\w+`(?:, )?)+) \| ([\d, ]+) \|", line)
        if found:
            jobs |= dict(zip(re.findall(r"\w+", found[1]), map(int, found[2].split(","))))
    return jobs


def test_the_papers_grid_is_planned_as_documented(tmp_path):
    jobs = planned_jobs(tmp_path, ROOT / "studies/paper.yaml")
    assert len(documented()) == 13
    assert {rule: jobs.get(rule) for rule in documented()} == documented()
