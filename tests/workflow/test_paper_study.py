"""The papers' study: its whole DAG, as a dry run plans it, is what its documentation says."""

import re
import subprocess
import sys
from pathlib import Path

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
    command = [
        sys.executable,
        "-m",
        "snakemake",
        "--snakefile",
        ROOT / "Snakefile",
        "--directory",
        tmp_path,
    ]
    command += ["--configfile", ROOT / "studies/paper.yaml", "--dry-run", "--quiet", "rules"]
    run = subprocess.run(command, capture_output=True, text=True)
    assert run.returncode == 0, run.stdout + run.stderr
    lines = [line.split() for line in run.stdout.splitlines()]
    jobs = {line[0]: int(line[1]) for line in lines if len(line) == 2 and line[1].isdigit()}
    assert len(documented()) == 13
    assert {rule: jobs.get(rule) for rule in documented()} == documented()
