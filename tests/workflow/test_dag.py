"""The DAG of a study over all benchmarks, as a dry run plans it."""

import subprocess
import sys
from pathlib import Path

import yaml

ROOT = Path(__file__).parents[2]
HUB = ["cola", "sst2", "mrpc", "stsb", "qqp", "mnli", "qnli", "rte", "wnli"]
URLS = ["jcola", "jsts", "jnli", "jcommonsenseqa", "squad"]
TUNED = {"protocol": "finetune_then_compress", "model": "minilm", "corpus": "wikipedia"}
FINETUNE = {"finetune": {"epochs": 1, "batch_size": 32, "learning_rate": 1e-4}}


def test_every_split_comes_from_its_own_rule(tmp_path, default_config):
    tasks = {name: {"benchmark": name} | TUNED | FINETUNE for name in HUB + URLS}
    tasks["mnli_mm"] = {"benchmark": "mnli_mismatched", "checkpoint": "mnli"} | TUNED
    tasks["cosine"] = {"benchmark": "jsts", "protocol": "zero_shot", "model": "minilm", "corpus": "wikipedia"}
    (tmp_path / "own.csv").write_text("text,label\n")
    data = {"format": "csv", "train": "own.csv", "test": "own.csv", "text": "text", "label": "label"}
    tasks["own"] = (
        {"label": "Own", "kind": "regression", "data": data, "test_examples": 8, "max_length": 8} | TUNED | FINETUNE
    )
    del default_config["claims"]
    study = default_config | {"tasks": tasks, "methods": {"identity": {}, "svd": {}}, "ratios": [4]}
    (tmp_path / "study.yaml").write_text(yaml.safe_dump(study))
    command = [sys.executable, "-m", "snakemake", "--snakefile", ROOT / "Snakefile", "--directory", tmp_path]
    command += ["--configfile", tmp_path / "study.yaml", "--dry-run", "--quiet", "rules"]
    run = subprocess.run(command, capture_output=True, text=True)
    assert run.returncode == 0, run.stdout + run.stderr
    lines = [line.split() for line in run.stdout.splitlines()]
    jobs = {line[0]: int(line[1]) for line in lines if len(line) == 2 and line[1].isdigit()}
    # Mismatched MNLI has its own test split and mnli's model; jsts without training reads what jsts with it reads.
    assert jobs["hub_split"] == 2 * len(HUB) + 1
    assert jobs["download"] == 2 * len(URLS)
    assert jobs["finetune"] == len(HUB + URLS) + 1
    assert jobs["evaluate"] == 2 * len(tasks)
