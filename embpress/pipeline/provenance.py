"""Provenance of scores: versions, hashes, machine, and the time and memory of every job."""

import os
import platform
import subprocess
from collections.abc import Collection, Mapping
from importlib import metadata
from pathlib import Path
from typing import Any

from .. import __version__
from ..files import sha256_of
from ..study.model_entry import PackagePin
from ..study.study import Study
from .job_records import core_seconds_by_rule, of_jobs, read_job_records, total_core_seconds

LIBRARIES = (
    "torch",
    "transformers",
    "accelerate",
    "tokenizers",
    "safetensors",
    "numpy",
    "scipy",
    "pandas",
)


def code_commit() -> str | None:
    """Hash of the commit that this code is at, with "-dirty" if files differ from it.

    None if the code is not part of a git repository, as in an installed package.
    """
    folder = ["git", "-C", str(Path(__file__).parent)]
    try:
        tracked = subprocess.check_output(
            [*folder, "ls-files", Path(__file__).name], text=True, stderr=subprocess.DEVNULL
        )
        if not tracked:
            return None
        describe = [*folder, "describe", "--always", "--dirty", "--abbrev=40", "--exclude=*"]
        return subprocess.check_output(describe, text=True).strip()
    except (OSError, subprocess.CalledProcessError):
        return None


def collect(
    study: Study, packages: Mapping[str, PackagePin], folder: Path, logs: Collection[Path]
) -> dict[str, Any]:
    """Collect the content of the file of provenance.

    Args:
        study: the study.
        packages: pins of the suite and of the study.
        folder: folder with a JSON record beside the log of each job.
        logs: log files of the study's own jobs. Those of earlier studies in the same folder are
            left out.
    """
    records = of_jobs(read_job_records(folder), logs)
    by_rule = core_seconds_by_rule(records)
    return {
        "embpress": __version__,
        "commit": code_commit(),
        "libraries": {name: metadata.version(name) for name in LIBRARIES},
        "machine": {
            "python": platform.python_version(),
            "system": platform.platform(),
            "cores": os.cpu_count(),
        },
        "packages": {
            name: packages[name].model_dump(exclude_unset=True) for name in study.used_packages()
        },
        "files": {str(path): sha256_of(path) for path in study.local_files()},
        "study": study.to_json(),
        "core_seconds": {
            "all": total_core_seconds(by_rule)._asdict(),
            "by_rule": {rule: sums._asdict() for rule, sums in by_rule.items()},
        },
        "jobs": records,
    }
