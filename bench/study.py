"""Core-seconds of the smoke study by rule, start-up apart, beside those of the last release.

Ratios below 1 are faster. Without --provenance the study runs first, in a folder of its own.
"""

import json
import tempfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from embpress.pipeline.job_records import CoreSeconds, core_seconds_by_rule, total_core_seconds

from .common import Table, parser
from .studies import ROOT, run_study

RELEASE = Path(__file__).with_name("study.json")
"""Numbers of the last release, as --save writes them."""
UNMEASURED: dict[str, Any] = {"embpress": "no release", "by_rule": {}}
"""Stands for the numbers until a release has measured processor time, which 0.1.0 did not."""


def read_json(path: Path) -> dict[str, Any]:
    """A JSON file that holds an object."""
    content: dict[str, Any] = json.loads(path.read_text(encoding="utf-8"))
    return content


def release_record(version: str, by_rule: Mapping[str, CoreSeconds]) -> dict[str, Any]:
    """What the file of a release holds."""
    return {
        "embpress": version,
        "by_rule": {rule: sums._asdict() for rule, sums in by_rule.items()},
    }


def study_table(by_rule: Mapping[str, CoreSeconds], release: Mapping[str, Any]) -> Table:
    """The table of rules, the most expensive first, and of all jobs.

    Args:
        by_rule: core-seconds of this study.
        release: content of the file of the last release.
    """
    before = {rule: CoreSeconds(**sums) for rule, sums in release["by_rule"].items()}
    version = release["embpress"]
    table = Table(
        "Smoke study, seconds of a core",
        *("rule", "jobs", "core-seconds", "start-up", f"jobs in {version}"),
        *(f"core-seconds in {version}", "ratio"),
    )
    for rule, sums in [*by_rule.items(), ("all", total_core_seconds(by_rule))]:
        old = total_core_seconds(before) if rule == "all" else before.get(rule)
        cells = (
            (old.jobs, f"{old.total:.1f}", f"{sums.total / old.total:.2f}")
            if old and old.total
            else 3 * "-"
        )
        startup = f"{sums.startup_share:.0%}"
        table.add(rule, sums.jobs, f"{sums.total:.1f}", startup, *cells)
    return table


def main() -> None:
    """Print the table."""
    options = parser(__doc__)
    options.add_argument("--provenance", type=Path, help="of a smoke study that has finished")
    options.add_argument("--cores", type=int, default=2)
    options.add_argument("--save", type=Path, help="write the numbers as those of a release")
    chosen = options.parse_args()
    if chosen.provenance:
        provenance = read_json(chosen.provenance)
    else:
        with tempfile.TemporaryDirectory() as folder:
            smoke = ROOT / "studies/smoke.yaml"
            run_study(Path(folder), smoke, "--cores", str(chosen.cores))
            provenance = read_json(Path(folder) / "results/provenance.json")
    by_rule = core_seconds_by_rule(provenance["jobs"])
    if chosen.save:
        record = release_record(provenance["embpress"], by_rule)
        chosen.save.write_text(json.dumps(record, indent=1) + "\n", encoding="utf-8")
    release = read_json(RELEASE) if RELEASE.exists() else UNMEASURED
    study_table(by_rule, release).print()


if __name__ == "__main__":
    main()
