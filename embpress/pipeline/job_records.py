"""Records of time and memory that jobs write beside their log files, and their sums by rule.

`python -m embpress.pipeline.job_records results/provenance.json` prints where the time of a study
went.
"""

import json
import sys
from collections.abc import Collection, Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

Record = Mapping[str, Any]
WORKER = "worker"
"""Rule in the record of the process that imports the libraries for all jobs of a local run."""


class CoreSeconds(NamedTuple):
    """Processor time of some jobs, in seconds of one core.

    Attributes:
        jobs: number of jobs.
        total: all of the time.
        startup: the part before the work: imports and reading models.
    """

    jobs: int
    total: float
    startup: float

    @property
    def startup_share(self) -> float:
        """Share of the start-up, 0 to 1."""
        return self.startup / self.total if self.total else 0.0


def read_job_records(logs: Path) -> dict[Path, dict[str, Any]]:
    """Records of all jobs below a folder, by path."""
    records = {path: read_record(path) for path in sorted(logs.rglob("*.json"))}
    return {path: record for path, record in records.items() if record}


def read_record(path: Path) -> dict[str, Any] | None:
    """The record of one job; None if there is none, or half of one that a killed job left."""
    try:
        record = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return None
    return record if isinstance(record, dict) else None


def of_jobs(records: Mapping[Path, Record], logs: Collection[Path]) -> list[Record]:
    """The records of some jobs, among those that earlier studies left in the same folder.

    The record of the process that imports the libraries for all jobs is kept too.

    Args:
        records: records of jobs of any study, by path.
        logs: log files of the jobs.
    """
    paths = {log.with_suffix(".json") for log in logs}
    return [
        record for path, record in records.items() if path in paths or record.get("rule") == WORKER
    ]


def core_seconds_by_rule(records: Sequence[Record]) -> dict[str, CoreSeconds]:
    """Core-seconds by rule, the most expensive first.

    Records of embpress 0.1.0, which did not measure processor time, are left out.
    """
    measured = [record for record in records if "cpu_seconds" in record]
    by_rule = {}
    for rule in dict.fromkeys(record["rule"] for record in measured):
        own = [record for record in measured if record["rule"] == rule]
        by_rule[rule] = CoreSeconds(
            len(own),
            round(sum(record["cpu_seconds"] for record in own), 2),
            round(sum(record["startup_cpu_seconds"] for record in own), 2),
        )
    return dict(sorted(by_rule.items(), key=lambda item: -item[1].total))


def total_core_seconds(by_rule: Mapping[str, CoreSeconds]) -> CoreSeconds:
    """Sums over all rules."""
    sums = [sum(column) for column in zip(*by_rule.values())] or [0, 0.0, 0.0]
    return CoreSeconds(int(sums[0]), round(sums[1], 2), round(sums[2], 2))


def sentence(by_rule: Mapping[str, CoreSeconds], n_rules: int = 3) -> str:
    """Where the time went, in one line: the total, the start-up and the most expensive rules."""
    total = total_core_seconds(by_rule)
    if not total.total:
        return "no job has recorded its processor time"
    most = [f"{rule} {sums.total:.0f} s" for rule, sums in by_rule.items()][:n_rules]
    return (
        f"{total.total:.0f} core-seconds in {total.jobs} jobs, {total.startup_share:.0%} of it "
        f"start-up; most: {', '.join(most)}"
    )


def main() -> None:
    """Print the sentence about a file of provenance."""
    provenance = json.loads(Path(sys.argv[1]).read_text(encoding="utf-8"))
    print(sentence(core_seconds_by_rule(provenance["jobs"])))


if __name__ == "__main__":
    main()
