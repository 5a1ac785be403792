"""The rule `averages` of a real workflow, over made-up outcomes of two tasks."""

import json

import numpy as np
import pandas
import pytest
import yaml

from embpress.analysis.scores import SCORE_COLUMNS, write_scores
from embpress.pipeline.aggregation import labels
from embpress.pipeline.evaluation import write_outcomes

from ..studies import load
from .runs import run_snakemake

RIGHT = {"a": {"identity": 0.9, "svd": 0.6}, "b": {"identity": 0.8, "svd": 0.8}}
"""Accuracy of each method on each task."""


def test_averages_are_tables_of_their_own(tmp_path, default_config, monkeypatch):
    (tmp_path / "own.csv").write_text("text,label\n")
    data = {
        "format": "csv",
        "train": "own.csv",
        "test": "own.csv",
        "text": "text",
        "label": "label",
        "labels": ["x", "y"],
    }
    entry = {
        "kind": "classification",
        "protocol": "finetune_then_compress",
        "model": "minilm",
        "corpus": "wikipedia",
    }
    entry |= {"data": data, "test_examples": 100, "max_length": 8}
    entry |= {"finetune": {"epochs": 1, "batch_size": 32, "learning_rate": 1e-4}}
    del default_config["claims"]
    study = default_config | {"methods": {"identity": {}, "svd": {}}, "ratios": [4], "seeds": [0]}
    study |= {"tasks": {name: entry | {"label": f"Task {name}"} for name in RIGHT}}
    study |= {"averages": {"both": {"label": "Both", "tasks": list(RIGHT)}}}
    (tmp_path / "study.yaml").write_text(yaml.safe_dump(study))
    rows = []
    for task, right in RIGHT.items():
        for method, share in right.items():
            predicted = (np.arange(100) < 100 * share).astype(np.int16)
            ratio = "1" if method == "identity" else "4"
            found = {ratio: {"predicted": predicted, "label": np.ones(100, dtype=np.int16)}}
            write_outcomes(
                found, tmp_path / f"results/evaluation/{task}/seed0/{method}.safetensors"
            )
            about = dict(
                study="default",
                model="minilm",
                task=task,
                protocol=entry["protocol"],
                method=method,
                seed=0,
                note="",
            )
            asked = np.nan if method == "identity" else 4.0
            rows.append(about | dict(target_ratio=asked, metric="accuracy", value=share, n=100))
    write_scores(pandas.DataFrame(rows, columns=SCORE_COLUMNS), tmp_path / "results/scores.csv")
    monkeypatch.chdir(tmp_path)  # the paths of the tasks' files are relative to it
    (tmp_path / "results/labels.json").write_text(json.dumps(labels(load(study))))
    wanted = ("--allowed-rules", "averages", "--", "results/averages.csv")
    run_snakemake(tmp_path, tmp_path / "study.yaml", "--cores", "1", *wanted)
    found = pandas.read_csv(tmp_path / "results/averages.csv").set_index(["method", "metric"])
    assert found.loc[("svd", "average"), "value"] == pytest.approx(0.7)
    assert found.loc[("svd", "average"), "retention"] == pytest.approx(100 * 0.7 / 0.85, rel=1e-5)
    assert "Task a" in (tmp_path / "results/tables/average_both.tex").read_text()
    assert "70.0" in (tmp_path / "results/tables/averages.txt").read_text()
