"""Take the tables of a finished study into docs/findings/runs, from which the pages are written.

    python -m bench.findings.keep results

Beside the tables of the study this writes `differences.csv.xz`, paired differences in retention
between all methods, which it resamples from the outcomes in results/evaluation.
"""

import datetime
import json
import lzma
import shutil
import subprocess
from pathlib import Path
from typing import Any

import yaml

from embpress.errors import UserError
from embpress.files import atomic_directory, write_json, write_text
from embpress.pipeline.paired_differences import paired_differences
from embpress.study.study import Study
from embpress.tasks import parse_entry

from ..common import parser

RUNS = Path("docs/findings/runs")
TABLES = ("scores", "claims", "averages", "bounds", "modules")
"""Tables of results/ that are kept, of those that the study has."""
OWN = ("claims", "averages")
"""Tables of studies that have such entries; others in the same folder leave theirs behind."""


def keep(results: Path, runs: Path, commit: str = "", command: str = "") -> Path:
    """Write the folder of a run, which replaces an earlier run of the same study.

    Args:
        results: folder of a finished study.
        runs: folder of all kept runs.
        commit: that the study ran at; by default the one that provenance.json records.
        command: that ran the study; by default the one for the study's name.

    Returns:
        The folder of the run.

    Raises:
        UserError: if the study has not finished, or its commit is unknown.
    """
    provenance_file = results / "provenance.json"
    if not provenance_file.exists():
        raise UserError(f"{provenance_file} does not exist: finish the study, then keep it")
    provenance = json.loads(provenance_file.read_text(encoding="utf-8"))
    about = _about(provenance, results, commit, command)
    study = Study.from_config(provenance["study"], parse_entry)
    with atomic_directory(runs / study.name) as folder:
        for name in TABLES:
            table = results / f"{name}.csv"
            if table.exists() and (name not in OWN or getattr(study, name)):
                _compress(table.read_text(encoding="utf-8"), folder / f"{name}.csv.xz")
        differences = paired_differences(study, results)
        plain = differences.to_csv(index=False, float_format="%.6g", lineterminator="\n")
        _compress(plain, folder / "differences.csv.xz")
        shutil.copyfile(results / "labels.json", folder / "labels.json")
        config = yaml.safe_dump(provenance["study"], sort_keys=False, allow_unicode=True, width=100)
        write_text(folder / "study.yaml", config)
        write_json(folder / "run.json", about)
    return runs / study.name


def _about(
    provenance: dict[str, Any], results: Path, commit: str, command: str
) -> dict[str, object]:
    """Content of run.json."""
    commit = commit or provenance.get("commit") or ""
    if not commit:
        raise UserError(f"{results / 'provenance.json'} has no commit: name it with --commit")
    name = provenance["study"]["study"]
    if not command:
        config = "" if name == "default" else f" --configfile studies/{name}.yaml"
        command = f"snakemake --cores {provenance['machine']['cores']}{config}"
    finished = (results / "scores.csv").stat().st_mtime
    return {
        "study": name,
        "commit": commit,
        "date": datetime.datetime.fromtimestamp(finished, datetime.UTC).date().isoformat(),
        "command": command,
        "core_seconds": round(provenance["core_seconds"]["all"]["total"]),
        "machine": provenance["machine"],
        "versions": {"embpress": provenance["embpress"]} | provenance["libraries"],
    }


def _compress(text: str, path: Path) -> None:
    """Write text with xz, the same bytes for the same text."""
    path.write_bytes(lzma.compress(text.encode(), preset=9))


def main() -> None:
    """Keep a run."""
    options = parser(__doc__)
    options.add_argument("results", type=Path, help="folder of a finished study")
    options.add_argument("--runs", type=Path, default=RUNS)
    options.add_argument("--commit", default="", help="where provenance.json has none")
    options.add_argument("--command", default="", help="that ran the study")
    chosen = options.parse_args()
    try:
        commit = chosen.commit and _full_commit(chosen.commit)
        print(keep(chosen.results, chosen.runs, commit, chosen.command))
    except UserError as error:
        options.error(str(error))


def _full_commit(name: str) -> str:
    """The full hash of a commit of this repository.

    Raises:
        UserError: if there is no such commit.
    """
    found = subprocess.run(
        ["git", "rev-parse", "--verify", f"{name}^{{commit}}"], capture_output=True, text=True
    )
    if found.returncode:
        raise UserError(f"--commit {name}: this repository has no such commit")
    return found.stdout.strip()


if __name__ == "__main__":
    main()
