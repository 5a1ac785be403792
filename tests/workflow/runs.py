"""Runs of the real workflow that several tests start."""

import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).parents[2]


def run_snakemake(folder: Path, configfile: Path, *arguments: str, succeeds: bool = True) -> str:
    """Run the workflow in a folder; what it prints on standard output, and errors if it fails."""
    command = [sys.executable, "-m", "snakemake", "--snakefile", ROOT / "Snakefile"]
    command += ["--directory", folder, "--configfile", configfile, *arguments]
    run = subprocess.run(command, capture_output=True, text=True, cwd=folder)
    assert (run.returncode == 0) == succeeds, run.stdout + run.stderr
    return run.stdout if succeeds else run.stdout + run.stderr


def planned_jobs(folder: Path, configfile: Path, *targets: str) -> dict[str, int]:
    """Numbers of jobs by rule, as a dry run plans them for targets, or for the whole study."""
    printed = run_snakemake(folder, configfile, "--dry-run", "--quiet", "rules", "--", *targets)
    lines = [line.split() for line in printed.splitlines()]
    return {line[0]: int(line[1]) for line in lines if len(line) == 2 and line[1].isdigit()}
