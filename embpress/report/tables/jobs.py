"""Tables of run times and memory, from the jobs recorded in results/provenance.json."""

from collections.abc import Mapping, Sequence
from typing import TypedDict

from .table import Cell, Column, Table, flat_table, number_cell, text_columns


class Job(TypedDict):
    """What a job recorded about itself."""

    rule: str
    wildcards: Mapping[str, str]
    threads: int
    seconds: float
    peak_mb: float


def jobs_table(jobs: Sequence[Job]) -> Table:
    """Time and memory of every job."""
    rows = [
        [
            Cell(job["rule"]),
            Cell(", ".join(f"{k} {v}" for k, v in job["wildcards"].items())),
            number_cell(job["threads"], 0),
            number_cell(job["seconds"]),
            number_cell(job["peak_mb"], 0),
        ]
        for job in jobs
    ]
    columns = [*text_columns("Rule", "Wildcards"), *map(Column, ("Threads", "Seconds", "Peak MB"))]
    return flat_table("jobs", "All jobs", columns, rows, "As each job recorded itself.")


def rules_table(jobs: Sequence[Job]) -> Table:
    """Time and memory by rule."""
    rows = []
    for rule in dict.fromkeys(job["rule"] for job in jobs):
        own = [job for job in jobs if job["rule"] == rule]
        seconds = [job["seconds"] for job in own]
        rows.append(
            [
                Cell(rule),
                number_cell(len(own), 0),
                number_cell(sum(seconds)),
                number_cell(max(seconds)),
                number_cell(max(job["peak_mb"] for job in own), 0),
            ]
        )
    columns = [*text_columns("Rule"), *map(Column, ("Jobs", "Seconds", "Longest job", "Peak MB"))]
    note = "Wall-clock seconds: all jobs of a rule, and its longest job. Memory: the largest job."
    return flat_table("rules", "Run times", columns, rows, note)
