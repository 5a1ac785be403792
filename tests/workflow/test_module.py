"""The workflow from another folder: by its own Snakefiles, and as a module of another workflow."""

import subprocess
import sys
from pathlib import Path

import pytest
import yaml

from embpress.data.words import PARAGRAPH, read_words

from ..tiny_study import finish, start, write_study

ROOT = Path(__file__).parents[2]
MODULE = """
configfile: "study.yaml"

module embpress:
    snakefile: "{snakefile}"
    config: config

use rule * from embpress
"""


@pytest.fixture
def study(tmp_path):
    """A folder with a tiny study, outside of the repository."""
    write_study(tmp_path)
    return tmp_path


def planned_files(folder, *arguments):
    """Every file that a run would make, with its rule, sorted."""
    command = [sys.executable, "-m", "snakemake", "--cores", "1", "--summary", *arguments]
    run = subprocess.run(command, cwd=folder, capture_output=True, text=True)
    assert run.returncode == 0, run.stdout + run.stderr
    lines = [line.split("\t") for line in run.stdout.splitlines()]
    return sorted((line[0], line[2]) for line in lines if line[0].startswith("results/"))


def test_all_ways_to_start_the_workflow_plan_the_same_jobs(study):
    for_study = ("--configfile", "study.yaml")
    files = planned_files(study, "--snakefile", ROOT / "Snakefile", *for_study)
    assert {rule for _, rule in files} >= {"package", "compress", "scores", "tables", "figures"}
    assert planned_files(study, "--snakefile", ROOT / "workflow/Snakefile", *for_study) == files
    for snakefile in ("Snakefile", "workflow/Snakefile"):
        (study / "Snakefile").write_text(MODULE.format(snakefile=ROOT / snakefile))
        assert planned_files(study) == files


def test_without_a_config_of_its_own_a_module_runs_the_default_study(tmp_path):
    (tmp_path / "Snakefile").write_text(
        f'module embpress:\n    snakefile: "{ROOT}/workflow/Snakefile"\n'
        "use rule * from embpress as embpress_*\n"
    )
    of_module = planned_files(tmp_path)
    of_workflow = planned_files(tmp_path, "--snakefile", ROOT / "workflow/Snakefile")
    assert of_module == [(file, f"embpress_{rule}") for file, rule in of_workflow]


def test_a_module_runs_its_scripts_with_the_library_beside_them(study):
    (study / "Snakefile").write_text(MODULE.format(snakefile=ROOT / "workflow/Snakefile"))
    words = "results/frequency/texts/words.tsv"
    status, output = finish(start(study, words, snakefile=study / "Snakefile"))
    assert status == 0, output
    counted = read_words(study / words)
    assert counted.total() - counted[PARAGRAPH] == 600


def test_the_catalog_finds_the_files_that_it_looks_for():
    usage = yaml.safe_load((ROOT / ".snakemake-workflow-catalog.yml").read_text())["usage"]
    assert usage["software-stack-deployment"]["conda"] and usage["report"]
    assert (ROOT / "config/README.md").is_file() and (ROOT / "workflow/Snakefile").is_file()
