"""The DAG with --use-conda.

Each environment is solved for the versions that these tests run with: docs/operations/conda.md.
"""

import ast
import json
import re
import shutil
import subprocess
from pathlib import Path

import pandas
import pytest
import yaml

from .conftest import ROOT, small_study

ENVS = sorted((ROOT / "envs").glob("*.yaml"))
TASKS = {
    "rotten": ["identity", "svd"],
    "bitext": ["identity"],
}
READERS = {"torch": ["gguf"]}
"""What transformers imports for a format of models that none of these tasks has."""

# One process for all that needs the environments, so that they are made once.
pytestmark = [pytest.mark.integration, pytest.mark.xdist_group("environments")]


@pytest.fixture(scope="module")
def finished(tmp_path_factory, conda):
    """A finished run, and what it printed."""
    folder = tmp_path_factory.mktemp("with_conda")
    status, output = conda(folder, small_study(folder, TASKS), "--cores", "2")
    assert status == 0, output[-5000:]
    return folder, output


@pytest.fixture
def prefixes(finished, conda) -> dict[str, Path]:
    """The created environments by the name of their file."""
    created = Path(conda.options[-1]).glob("*.yaml")
    contents = {file.read_text(): file.with_suffix("") for file in created}
    return {env.stem: contents[env.read_text()] for env in ENVS}


def rules_of(env: str) -> list[str]:
    """Scripts of the rules that name an environment."""
    rules = "".join(file.read_text() for file in (ROOT / "workflow/rules").glob("*.smk"))
    return re.findall(
        rf'conda:\s+"../../envs/{env}.yaml".*?script:\s+"../scripts/(\w+).py"', rules, re.DOTALL
    )


def test_every_job_runs_in_an_environment_and_the_study_finishes(finished):
    folder, output = finished
    for env in ENVS:
        assert (
            len(re.findall(rf"Creating conda environment \S*envs/{env.name}\.\.\.", output)) == 1
        ), env
    assert output.count("Activating conda environment") >= output.count("\nJob ") > 28
    scores = pandas.read_csv(folder / "results/scores.csv")
    assert set(scores["task"]) == set(TASKS) and scores["value"].notna().all()
    assert (folder / "results/tables/main.tex").exists() and (
        folder / "results/claims.csv"
    ).exists()
    assert "finetune" in {
        job["rule"] for job in json.loads((folder / "results/provenance.json").read_text())["jobs"]
    }


@pytest.mark.parametrize("env", [env.stem for env in ENVS])
def test_an_environment_holds_all_that_its_scripts_import(env, prefixes):
    """By itself: Snakemake adds its own site-packages to a script's path.

    Which hides what an environment lacks.
    """
    imports = [f"import {name}" for name in READERS.get(env, [])]
    for rule in rules_of(env):
        tree = ast.parse((ROOT / f"workflow/scripts/{rule}.py").read_text())
        imports += [
            ast.unparse(node)
            for node in ast.walk(tree)
            if isinstance(node, ast.Import | ast.ImportFrom)
        ]
    assert len(imports) >= 2
    setup = f"import sys; sys.path += [{str(ROOT)!r}, {str(ROOT / 'workflow/scripts')!r}]"
    code = "\n".join([setup, *dict.fromkeys(imports), "print(sys.prefix)"])
    run = subprocess.run(
        [prefixes[env] / "bin/python", "-I", "-c", code], capture_output=True, text=True
    )
    assert run.returncode == 0, run.stderr
    assert run.stdout.strip() == str(prefixes[env])


def test_a_pin_that_drifted_ends_on_a_sentence_that_names_it(tmp_path, conda):
    copy = tmp_path / "embpress"
    for folder in ("embpress", "envs", "workflow"):
        shutil.copytree(ROOT / folder, copy / folder)
    shutil.copy(ROOT / "Snakefile", copy)
    env = copy / "envs/report.yaml"
    pin = next(
        line for line in yaml.safe_load(env.read_text())["dependencies"] if line.startswith("scipy")
    )
    env.write_text(env.read_text().replace(pin, "scipy =1.0.1"))
    arguments = ["--cores", "1", "--conda-create-envs-only"]
    status, output = conda(
        tmp_path, small_study(tmp_path, TASKS), *arguments, snakefile=copy / "Snakefile"
    )
    assert status != 0
    assert "Could not create conda environment from" in output and "envs/report.yaml" in output
    assert "No candidates were found for scipy 1.0.1" in output and "Traceback" not in output
