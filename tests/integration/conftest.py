"""What several runs of the real DAG share.

A small study, and a conda channel of the versions that these tests run with.
"""

import os
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

import pytest
import yaml

from ..conda.channel import write_channel

ROOT = Path(__file__).parents[2]


@dataclass
class Runner:
    """Starts snakemake in a folder of its own, with what the environment needs on top."""

    environment: dict[str, str]
    options: list[str]
    program: tuple[str, ...] = ("-m", "snakemake")
    """What Python runs."""

    def __call__(
        self, folder: Path, study: Path, *arguments: str, snakefile: Path = ROOT / "Snakefile"
    ) -> tuple[int, str]:
        """Exit status, and all that was printed."""
        command = [
            sys.executable,
            *self.program,
            "--snakefile",
            snakefile,
            "--directory",
            folder,
            *self.options,
        ]
        command += [*arguments, "--configfile", study]
        run = subprocess.run(
            command, capture_output=True, text=True, cwd=folder, env=os.environ | self.environment
        )
        return run.returncode, run.stdout + run.stderr


def small_study(folder: Path, tasks: dict[str, list[str]]) -> Path:
    """studies/smoke.yaml with fewer tasks and methods, and a claim on the first task.

    Every rule still has a job.
    """
    study = yaml.safe_load((ROOT / "studies/smoke.yaml").read_text())
    study["methods"] = {
        name: study["methods"][name]
        for name in dict.fromkeys(m for of in tasks.values() for m in of)
    }
    study["tasks"] = {
        name: study["tasks"][name] | {"methods": methods} for name, methods in tasks.items()
    }
    for part, key in (("models", "model"), ("corpora", "corpus")):
        used = {task[key] for task in study["tasks"].values()}
        study[part] = {name: entry for name, entry in study[part].items() if name in used}
    study["tasks"]["rotten"] |= {"train_examples": 64, "test_examples": 64}
    comparison = {
        "better": "identity",
        "worse": ["svd"],
        "on": next(iter(tasks)),
        "by": "mean_cosine",
    }
    study["claims"] = {
        "above": {
            "paper": "B21",
            "text": "A claim.",
            "evidence": "inferred",
            "comparisons": [comparison],
        }
    }
    file = folder / "small.yaml"
    file.write_text(yaml.safe_dump(study, sort_keys=False))
    return file


@pytest.fixture(scope="session")
def conda(tmp_path_factory) -> Runner:
    """Runs with --use-conda. Environments are created once, by whichever job needs one first."""
    if sys.version_info[:2] != (3, 11):
        pytest.skip(
            "envs/*.yaml pin Python 3.11, and these tests run on "
            f"{sys.version_info[0]}.{sys.version_info[1]}"
        )
    folder = tmp_path_factory.mktemp("conda")
    write_channel(folder / "channels/conda-forge")
    path = [str(ROOT / "tests/conda/bin"), str(Path(sys.executable).parent), os.environ["PATH"]]
    environment = {
        "PATH": ":".join(path),
        "CONDA_CHANNEL_ALIAS": f"file://{folder}/channels/",
        "CONDA_PKGS_DIRS": str(folder / "packages"),
    }
    return Runner(environment, ["--use-conda", "--conda-prefix", str(folder / "environments")])
