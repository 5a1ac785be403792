"""Records of time and memory that jobs write beside their log files, and their sums by rule.

`python -m embpress.pipeline.job_records results/provenance.json` prints where the time of a study
went.
"""

import json
import sys
from collections.abc import Collection, Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

from ..study.study import Study

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


def of_study(records: Iterable[Record], study: Study, rules: Collection[str]) -> list[Record]:
    """The records of a study's jobs, among those of other studies in the same folder.

    Args:
        records: records of jobs of any study.
        study: the study.
        rules: names of its rules.
    """
    return [
        record
        for record in records
        if record["rule"] in (*rules, WORKER) and _is_planned(record["wildcards"], study)
    ]


def _is_planned(wildcards: Mapping[str, str], study: Study) -> bool:
    """Whether a study has jobs with some wildcards."""
    checkpoints = {*study.models, *study.tasks}
    names: dict[str, Collection[str]] = {
        "package": study.used_packages(),
        "sha256": {sha256 for task in study.tasks.values() for sha256 in task.urls},
        "model": study.models,
        "corpus": study.corpora,
        "task": study.tasks,
        "checkpoint": checkpoints,
        "variant": study.variants,
        "seed": {str(seed) for seed in study.seeds},
    }
    if any(wildcards[key] not in names[key] for key in names.keys() & wildcards.keys()):
        return False
    if "variant" not in wildcards:
        return True
    variant = study.variants[wildcards["variant"]]
    if "ratio" in wildcards and float(wildcards["ratio"]) not in variant.ratios:
        return False
    owner = wildcards.get("task") or wildcards.get("checkpoint")
    return owner is None or any(
        variant in study.variants_of(task)
        for task in study.tasks
        if owner
        in (task, study.checkpoint_of(task), study.source_of(task), study.text_stage_owner(task))
    )


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
