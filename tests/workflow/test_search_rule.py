"""The search for settings in the DAG: its jobs, and a real one over a tiny model."""

import json

import pandas
import pytest
import yaml
from transformers import AutoModel, AutoTokenizer

from embpress.models.embedding import write_metadata
from embpress.study import search

from ..tiny_study import TUNE, finish, start, write_study
from .test_dag import planned

GRID = {"learning_rate": [1e-3, 1e-5], "epochs": [1, 2], "batch_size": 8, "held_out": 0.25}


def test_a_search_is_done_once_a_task_and_serves_all_seeds_and_students(tmp_path, default_config):
    del default_config["claims"]
    rotten = default_config["tasks"]["rotten"]
    student = {
        "label": "x",
        "protocol": "compress_then_finetune",
        "checkpoint": "rotten",
        "methods": ["svd"],
    }
    tasks = {"rotten": rotten | {"finetune": GRID}, "plain": rotten, "student": student}
    study = default_config | {
        "tasks": tasks,
        "methods": {"identity": {}, "svd": {}},
        "ratios": [4],
        "seeds": [3, 0, 1],
    }
    jobs = planned(tmp_path, study)
    assert (jobs["search"], jobs["search_table"], jobs["finetune"], jobs["train_student"]) == (
        4,
        1,
        2 * 3,
        3,
    )
    assert jobs["model"] == 1


def test_the_best_candidate_is_trained_and_shown(tmp_path):
    write_study(tmp_path)
    study = yaml.safe_load((tmp_path / "study.yaml").read_text())
    study["tasks"]["animals"]["finetune"] = TUNE | {"learning_rate": [1e-5, 1e-2], "held_out": 0.25}
    (tmp_path / "study.yaml").write_text(yaml.safe_dump(study))
    base = tmp_path / "results/models/bert"
    model, tokenizer = (
        kind.from_pretrained(tmp_path / "model") for kind in (AutoModel, AutoTokenizer)
    )
    model.save_pretrained(base)
    tokenizer.save_pretrained(base)
    write_metadata(model, tokenizer.all_special_ids, base, {})
    wanted = ["results/tables/search.tex", "results/finetuned/animals/seed0"]
    rules = ["search", "search_table", "finetune"]
    status, output = finish(start(tmp_path, *wanted, "--allowed-rules", *rules))
    assert status == 0, output
    found = pandas.read_csv(tmp_path / "results/search.csv")
    assert found["candidate"].tolist() == ["learning_rate_1e-05", "learning_rate_0.01"]
    assert (found["trained_on"] + found["held_out"] == 60 - 16).all() and (
        found["held_out"] == 11
    ).all()
    (chosen,) = found["candidate"][found["chosen"]]
    record = json.loads((tmp_path / "results/finetuned/animals/seed0" / search.RECORD).read_text())
    assert record["chosen"]["learning_rate"] == float(chosen.split("_")[2])
    assert [c["score"] for c in record["candidates"]] == pytest.approx(found["score"].tolist())
    assert found["score"].max() == found["score"][found["chosen"]].item()
    rates = json.loads((tmp_path / "results/finetuned/animals/seed0/training.json").read_text())[
        "rows"
    ]
    assert max(row["learning_rate"] for row in rates) <= record["chosen"]["learning_rate"]
    shown = (tmp_path / "results/tables/search.txt").read_text()
    assert [s.strip().split("  ")[0] for s in shown.splitlines() if s.endswith("*")] == [
        chosen.replace("_", " ")
    ]
    assert "longtable" in (tmp_path / "results/tables/search.tex").read_text()
