"""Processor time of Snakemake's own process for each job, on a grid of trivial jobs.

One grid runs with the workflow's profile and scheduling rules, one with Snakemake's defaults. As in
a study, jobs share inputs and have one of their own. All are ready at the beginning.
"""

import json
import subprocess
import sys
import tempfile
from pathlib import Path

from .common import Table, parser

ROOT = Path(__file__).parents[1]
MOST_WITH_DEFAULTS = 300
"""Jobs of a grid with Snakemake's defaults: the cost of n jobs grows with n^2."""
SNAKEFILE = """
import json, threading, time
{include}
rule all:
    input: expand("out/{{i}}", i=range({jobs}))
rule trivial:
    input: "in/checkpoint", "in/counts", "in/{{i}}"
    output: touch("out/{{i}}")
    resources: mem_mb=1
    shell: "sleep {seconds}"
onsuccess:
    timers = sum(isinstance(thread, threading.Timer) for thread in threading.enumerate())
    used = {{"cpu_seconds": time.process_time(), "timers": timers}}
    with open("used.json", "w") as file:
        json.dump(used, file)
"""


def grid_usage(n_jobs: int, seconds: float, cores: int, ours: bool) -> dict[str, float]:
    """What a grid costs Snakemake's process: seconds of a core, and timers that run at its end.

    Args:
        n_jobs: number of jobs.
        seconds: time that each job sleeps.
        cores: jobs at a time.
        ours: whether the default profile and workflow/rules/scheduling.smk are used.
    """
    start = f'include: "{ROOT}/workflow/rules/scheduling.smk"\nonstart:\n    remove_job_limit()\n'
    include = start if ours else ""
    with tempfile.TemporaryDirectory() as scratch:
        folder = Path(scratch)
        (folder / "in").mkdir()
        for name in ("checkpoint", "counts", *range(n_jobs)):
            (folder / f"in/{name}").touch()
        text = SNAKEFILE.format(include=include, jobs=n_jobs, seconds=seconds)
        (folder / "Snakefile").write_text(text)
        profile = str(ROOT / "profiles/default") if ours else "none"
        command = [sys.executable, "-m", "snakemake", "--cores", str(cores)]
        command += ["--quiet", "all", "--workflow-profile", profile]
        subprocess.run(command, cwd=folder, check=True, stdout=subprocess.DEVNULL)
        usage: dict[str, float] = json.loads((folder / "used.json").read_text())
    return usage


def main() -> None:
    """Print the table of grids."""
    options = parser(__doc__)
    options.add_argument("--jobs", type=int, nargs="+", default=[300])
    options.add_argument("--seconds", type=float, default=0.2, help="time that a job sleeps")
    options.add_argument("--cores", type=int, default=2)
    chosen = options.parse_args()
    table = Table(
        f"Snakemake's process, jobs of {chosen.seconds} s on {chosen.cores} cores",
        *("jobs", "profile", "s of a core", "start", "ms a further job", "% of a core", "timers"),
    )
    for profile, ours in (("embpress", True), ("Snakemake's defaults", False)):
        start = grid_usage(1, chosen.seconds, chosen.cores, ours)["cpu_seconds"]
        for n_jobs in chosen.jobs:
            if not ours and n_jobs > MOST_WITH_DEFAULTS:
                continue
            used = grid_usage(n_jobs, chosen.seconds, chosen.cores, ours)
            seconds = used["cpu_seconds"]
            share = seconds / (n_jobs * chosen.seconds / chosen.cores)
            per_job = f"{1000 * (seconds - start) / (n_jobs - 1):.1f}"
            cells = f"{seconds:.2f}", f"{start:.2f}", per_job, f"{share:.1%}"
            table.add(n_jobs, profile, *cells, used["timers"])
    table.print()


if __name__ == "__main__":
    main()
