"""Results are stale once library code changes that they were computed by, and only then.

A copy of the workflow runs a study with a stub in place of each job's work, so that Snakemake
records the real parameters of all rules. Then one layer at a time changes, and a dry run tells
which rules Snakemake would run again because of it.
"""

import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
import yaml

from ..tiny_study import STUDY, TUNE, write_study

ROOT = Path(__file__).parents[2]
pytestmark = pytest.mark.xdist_group("stale")  # one process, so that the study runs once
TARGETS = ["all", "results/report.html", "results/paper/paper.pdf"]
STUB = '''
"""A stand-in for the real job.py: makes empty outputs and does no work."""
import sys
from pathlib import Path

def run(snakemake, **options):
    for output in map(Path, snakemake.output):
        output.parent.mkdir(parents=True, exist_ok=True)
        output.touch() if output.suffix else output.mkdir(exist_ok=True)
    sys.exit(0)

def __getattr__(name):  # all else that scripts import from job
    return run
'''


def tree_study():
    """A study in which all kinds of jobs occur: training, students, claims, averages, a search."""
    animals = STUDY["tasks"]["animals"]
    student = {"label": "Student", "checkpoint": "animals", "methods": ["svd"]}
    distil = {"stage1": {"corpus": "texts", "tokens": 512, "terms": ["hidden"]} | TUNE}
    searched = TUNE | {"learning_rate": [1e-3, 1e-2], "held_out": 0.25}
    tasks = {
        "animals": animals,
        "searched": animals | {"finetune": searched, "methods": ["svd"]},
        "student": student
        | {"protocol": "compress_then_distil", "distil": distil | {"stage2": TUNE}},
    }
    comparison = {"better": "svd", "worse": "prune", "on": "animals", "by": "accuracy"}
    claim = {"paper": "B21", "text": "x", "evidence": "abstract", "comparisons": [comparison]}
    return STUDY | {
        "methods": {"identity": {}, "svd": {}, "prune": {}},
        "tasks": tasks,
        "claims": {"first": claim},
        "averages": {"both": {"label": "Both", "tasks": ["animals", "searched"]}},
        "packages": {"tiny-texts": {"version": "1", "sha256": 64 * "0"}},
    }


def snakemake(folder, *arguments):
    """Run Snakemake on the copy in a folder; its output."""
    command = [sys.executable, "-m", "snakemake", "--snakefile", folder / "copy/Snakefile"]
    command += ["--configfile", "study.yaml", "--cores", "2", *arguments, "--quiet", "rules"]
    run = subprocess.run(
        [*command, "--", *TARGETS], cwd=folder, capture_output=True, text=True, timeout=300
    )
    output = run.stdout + run.stderr
    assert run.returncode == 0, output[-3000:]
    return output


@pytest.fixture(scope="module")
def finished(tmp_path_factory):
    """A folder with a copy of the workflow and the finished study."""
    folder = tmp_path_factory.mktemp("stale")
    ignored = shutil.ignore_patterns("__pycache__", ".snakemake")
    for name in ("embpress", "workflow", "profiles", "envs"):
        shutil.copytree(ROOT / name, folder / "copy" / name, ignore=ignored)
    for name in ("Snakefile", "config.yaml"):
        shutil.copy(ROOT / name, folder / "copy" / name)
    (folder / "copy/workflow/scripts/job.py").write_text(STUB)
    write_study(folder)
    (folder / "study.yaml").write_text(yaml.safe_dump(tree_study()))
    snakemake(folder)
    return folder


def stale_jobs(folder, path, comment="#"):
    """Rules made stale by a change of a file of the copy, and how many jobs run again, by rule."""
    file = folder / "copy" / path
    before = file.read_text()
    try:
        file.write_text(f"{before}\n{comment} a change\n")
        return planned_jobs(folder)
    finally:
        file.write_text(before)


def planned_jobs(folder, *arguments):
    """Rules whose parameters have changed, and how many jobs would run, by rule."""
    output = snakemake(folder, "--dry-run", *arguments)
    changed = re.search(r"params have changed.*:\n +(.*)", output)
    counts = dict(re.findall(r"^(\w+) +(\d+)$", output, re.MULTILINE))
    stale = set(changed[1].split(", ")) if changed else set()
    return stale, {rule: int(count) for rule, count in counts.items()}


SOURCES = {"package", "corpus", "words"}
MODELS = SOURCES | {"model", "tokens"}
TRAINED = {"finetune": 2, "search": 2}
FITTED = {"compress": 6, "distil_on_text": 1, "train_student": 1, "evaluate": 7, "speed": 1}
RETRAINED = FITTED | TRAINED | {"compress": 5}  # the sixth is of the model before training


@pytest.mark.parametrize(
    ("path", "stale", "jobs", "kept"),
    [
        ("embpress/data/token_counts.py", {"model"}, TRAINED | FITTED, SOURCES),
        ("embpress/tasks/_labelled.py", {*TRAINED}, RETRAINED, MODELS),
        ("embpress/training/loop.py", {*TRAINED}, RETRAINED, MODELS),
        # The decoder of SVD's format, which three of the six fits use.
        ("embpress/formats/low_rank.py", {"compress"}, {"compress": 3}, MODELS | {*TRAINED}),
        # Vocabulary pruning, with one fit, imports this method.
        ("embpress/methods/sparse_coding.py", {"compress"}, {"compress": 1}, MODELS | {*TRAINED}),
        ("embpress/numerics/bits.py", {"compress"}, {"compress": 1}, MODELS | {*TRAINED}),
        ("embpress/numerics/linalg.py", {"compress"}, FITTED, MODELS | {*TRAINED}),
        ("embpress/fidelity/eigenspace.py", {"compress"}, FITTED, MODELS | {*TRAINED}),
        ("embpress/pipeline/evaluation.py", {"evaluate"}, {"evaluate": 7}, {"compress", *TRAINED}),
        ("embpress/pipeline/spectra.py", {"scores"}, {"scores": 1}, {"compress", "evaluate"}),
        ("embpress/report/tables/text.py", {"tables"}, {"tables": 1}, {"scores", "evaluate"}),
    ],
)
def test_a_changed_layer_makes_stale_what_it_computed(finished, path, stale, jobs, kept):
    changed, planned = stale_jobs(finished, path)
    assert stale <= changed
    assert jobs.items() <= planned.items()
    assert {"report", "paper", "tables"} <= planned.keys()
    assert not kept & planned.keys()


def test_a_changed_report_runs_nothing_else_again(finished):
    for path, comment in (
        ("embpress/report/html/summary.py", "#"),
        ("embpress/report/html/page.js", "//"),
    ):
        changed, planned = stale_jobs(finished, path, comment)
        assert changed == {"report"} and planned == {"report": 1, "total": 1}


def test_what_no_job_runs_makes_nothing_stale(finished):
    for path in ("embpress/cli.py", "embpress/methods/svd.md"):
        (finished / "copy" / path).touch()
        assert stale_jobs(finished, path) == (set(), {})


def test_another_device_makes_nothing_stale(finished):
    assert planned_jobs(finished, "--config", "device=cpu") == (set(), {})


def test_another_precision_evaluates_again(finished):
    changed, planned = planned_jobs(finished, "--config", "precision=bfloat16")
    assert "evaluate" in changed and planned["evaluate"] == 7
    assert not {"compress", *TRAINED, *MODELS} & planned.keys()
