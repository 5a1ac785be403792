"""Provenance of scores: versions, hashes, machine, and the time and memory of every job."""

import json
import os
import platform
from importlib import metadata
from pathlib import Path
from typing import Any

from .. import __version__
from ..files import sha256_of
from ..study.config import used_packages
from ..study.task_files import own_files

LIBRARIES = ("torch", "transformers", "tokenizers", "safetensors", "numpy", "scipy", "pandas")


def collect(config: dict[str, Any], packages: dict[str, Any], logs: Path) -> dict[str, Any]:
    """Collect the content of the file of provenance.

    Args:
        config: the study.
        packages: version and sha256 of every known package.
        logs: folder with a JSON record beside the log of each job.
    """
    records = [json.loads(path.read_text()) for path in sorted(logs.rglob("*.json"))]
    return {
        "embpress": __version__,
        "libraries": {name: metadata.version(name) for name in LIBRARIES},
        "machine": {
            "python": platform.python_version(),
            "system": platform.platform(),
            "cores": os.cpu_count(),
        },
        "packages": {name: packages[name] for name in used_packages(config)},
        "files": {path: sha256_of(Path(path)) for path in own_files(config["tasks"])},
        "study": config,
        "jobs": records,
    }
