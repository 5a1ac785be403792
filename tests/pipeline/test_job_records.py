import json
import sys
from pathlib import Path

from embpress.pipeline import job_records
from embpress.pipeline.job_records import (
    CoreSeconds,
    core_seconds_by_rule,
    of_jobs,
    read_job_records,
    sentence,
    total_core_seconds,
)


def record(rule, cpu=1.0, startup=0.25, **wildcards):
    return {
        "rule": rule,
        "wildcards": wildcards,
        "cpu_seconds": cpu,
        "startup_cpu_seconds": startup,
    }


def test_jobs_of_an_earlier_study_in_the_same_folder_are_left_out():
    old = record("evaluate", task="rotten", seed="0", variant="svd")
    own = record("evaluate", task="rotten", seed="0", variant="pq")
    records = {
        Path("logs/evaluate/rotten-seed0-svd.json"): old,
        Path("logs/evaluate/rotten-seed0-pq.json"): own,
        Path("logs/worker.json"): record("worker"),
    }
    logs = [Path("logs/evaluate/rotten-seed0-pq.log"), Path("logs/scores.log")]
    assert of_jobs(records, logs) == [own, record("worker")]


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
