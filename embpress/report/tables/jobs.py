"""Tables of run times and memory, from the jobs recorded in results/provenance.json."""

import math
from collections.abc import Mapping, Sequence
from typing import NotRequired, TypedDict

from .table import Cell, Column, Table, flat_table, number_cell, text_columns


class Job(TypedDict):
    """What a job recorded about itself."""

    rule: str
    wildcards: Mapping[str, str]
    threads: int
    seconds: float
    """Wall-clock time."""
    cpu_seconds: NotRequired[float]
    """Processor time; jobs of embpress 0.1.0 did not measure it."""
    startup_cpu_seconds: NotRequired[float]
    peak_mb: float


def jobs_table(jobs: Sequence[Job]) -> Table:
    """Time and memory of every job."""
    rows = [
        [
            Cell(job["rule"]),
            Cell(", ".join(f"{k} {v}" for k, v in job["wildcards"].items())),
            number_cell(job["threads"], 0),
            number_cell(job["seconds"]),
            number_cell(job.get("cpu_seconds", math.nan)),
            number_cell(job.get("startup_cpu_seconds", math.nan)),
            number_cell(job["peak_mb"], 0),
        ]
        for job in jobs
    ]
    heads = ("Threads", "Seconds", "Core-seconds", "Of these start-up", "Peak MB")
    columns = [*text_columns("Rule", "Wildcards"), *map(Column, heads)]
    return flat_table("jobs", "All jobs", columns, rows, "As each job recorded itself.")


def rules_table(jobs: Sequence[Job]) -> Table:
    """Core-seconds, of these start-up, longest job and memory by rule, and of all jobs."""
    names = list(dict.fromkeys(job["rule"] for job in jobs))
    rows = [_sums(name, [job for job in jobs if job["rule"] == name]) for name in names]
    # NaN, of a rule whose jobs did not measure it, comes last.
    rows.sort(key=lambda row: -math.inf if row[2].sort is None else row[2].sort, reverse=True)
    heads = ("Jobs", "Core-seconds", "Of these start-up", "Longest job", "Peak MB")
    columns = [*text_columns("Rule"), *map(Column, heads)]
    notes = (
        "Core-seconds: processor time of all jobs of a rule. Start-up: imports and reading models.",
        "Longest job: wall-clock seconds. Memory: the largest job.",
    )
    return flat_table("rules", "Run times", columns, [*rows, _sums("all", jobs)], *notes)


def _sums(name: str, jobs: Sequence[Job]) -> list[Cell]:
    """A row of the table of rules."""
    measured = [job for job in jobs if "cpu_seconds" in job]
    total = sum(job["cpu_seconds"] for job in measured) if measured else math.nan
    startup = sum(job["startup_cpu_seconds"] for job in measured) if measured else math.nan
    return [
        Cell(name, bold=name == "all"),
        number_cell(len(jobs), 0),
        number_cell(total),
        number_cell(startup),
        number_cell(max((job["seconds"] for job in jobs), default=math.nan)),
        number_cell(max((job["peak_mb"] for job in jobs), default=math.nan), 0),
    ]
