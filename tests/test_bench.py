import argparse
import json
import shutil
import sys
from typing import get_args

import numpy as np
import pandas
import pytest
import torch
from safetensors.torch import save_file

from bench import counting, decoding, gpu, large_tables, studies, study
from bench.common import GENERATED, chosen_of, matrix, peak_bytes, write_matrix
from bench.scale import fit
from embpress.data.texts import write_texts
from embpress.methods import compress
from embpress.models.decoding import Decode
from embpress.numerics.matrices import FileMatrix
from embpress.numerics.timing import summarize_times


def test_a_matrix_is_the_same_on_disk_and_its_first_rows_at_any_length(tmp_path):
    rows = GENERATED + 100
    write_matrix(tmp_path / "m", rows, 24)
    assert torch.equal(
        FileMatrix(tmp_path / "m", (rows, 24), torch.float16)[:], matrix(rows, 24).half().float()
    )
    assert torch.equal(matrix(50, 24), matrix(rows, 24)[:50])


def test_a_fit_from_disk_tells_its_time_peak_and_ratio(tmp_path, capsys):
    write_matrix(tmp_path / "m", 500, 24)
    fit(str(tmp_path / "m"), 500, 24, "int4", str(tmp_path / "out"))
    assert '"ratio": 6.8' in capsys.readouterr().out


def test_peak_is_what_was_held_at_once():
    before = peak_bytes()
    held = torch.ones(1 << 24)
    assert held.sum() > 0
    del held
    after = peak_bytes()
    assert after >= before
    ballast = torch.ones((after >> 2) + (1 << 24))  # more than all that has been
    assert ballast.sum() > 0 and peak_bytes() >= after + (1 << 25)


def test_a_misspelt_method_ends_the_program(capsys):
    with pytest.raises(SystemExit):
        chosen_of("svd,pg", ["svd", "pq"], argparse.ArgumentParser())
    assert "there is no pg; there are svd, pq" in capsys.readouterr().err


def test_quartiles():
    assert summarize_times([3.0, 1.0, 2.0]) == (2.0, 1.5, 2.5)
    assert str(summarize_times([0.002])) == "2 ms [2, 2]"


def test_both_ways_to_count_find_the_same_tokens(tmp_path, monkeypatch, capsys):
    monkeypatch.setattr(counting, "WORD_TYPES", 5000)
    (tmp_path / "text").mkdir()
    counting.write_text(tmp_path / "text/a.txt", 0.2)
    counting.write_wordpiece(tmp_path / "text/a.txt", tmp_path / "model")
    for way in (counting.ours, counting.tokenizer_alone):
        way(tmp_path / "text", tmp_path / "model", "", tmp_path)
    by_words, alone = map(json.loads, capsys.readouterr().out.splitlines())
    counts = np.load(tmp_path / "ours.npy")
    assert counts.sum() > 30_000 and (counts == np.load(tmp_path / "tokenizer_alone.npy")).all()
    assert by_words["processor"] > 0 and alone["peak"] > 1 << 20


def test_made_up_words_differ_and_frequent_ones_are_short():
    words = [counting.word(n) for n in range(20_000)]
    assert len(set(words)) == len(words) and len(words[0]) == 2 and len(words[-1]) > 4


def scores_of(values, retentions):
    """Scores of the uncompressed model and of one variant."""
    keys = {"task": "x", "metric": "accuracy", "seed": 0, "uncompressed_value": values[0]}
    rows = {"method": ["identity", "svd"], "target_ratio": [np.nan, 4.0]}
    return pandas.DataFrame({**rows, **keys, "value": values, "retention": retentions})


def test_differences_of_scores_are_told_by_task_and_metric():
    before = scores_of([0.8, 0.6], [100, 75])
    (row,) = studies.differences(before, scores_of([0.8, 0.5], [100, 62.5])).itertuples()
    assert (row.n, row.value, row.retention) == (2, 0.8, 12.5)
    assert (row.change, row.largest) == (pytest.approx(-0.05), pytest.approx(0.1))
    with pytest.raises(RuntimeError, match="2 scores before, but 1 of them after"):
        studies.differences(before, before[:1])


def test_a_machine_without_a_gpu_is_told(monkeypatch):
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    monkeypatch.setattr("sys.argv", ["bench.gpu"])
    with pytest.raises(SystemExit, match="bench.gpu: device is cuda, but torch"):
        gpu.main()


@pytest.mark.parametrize(("retention", "status"), [(99.5, 0), (98.5, 1)])
def test_the_gpu_benchmark_tries_itself_on_the_cpu(
    retention, status, base, monkeypatch, tmp_path, capsys
):
    """Its parts on a tiny model: the study is not run."""

    def run_study(folder, study, *arguments, **settings):
        assert settings == {"device": "cpu"}
        results = folder / "results"
        shutil.copytree(base, results / "models/minilm")
        for part in ("frequency/wikipedia", "corpora/wikipedia"):
            (results / part).mkdir(parents=True)
        counts = results / "frequency/wikipedia/tokens-minilm.safetensors"
        save_file({"counts": torch.arange(17)}, counts)
        write_texts(["the cat, the dogs " * 60], results / "corpora/wikipedia/counted.jsonl")

    monkeypatch.setattr(gpu, "run_study", run_study)
    monkeypatch.setattr(gpu, "read_scores", lambda folder: scores_of([0.8, 0.8], [100, 100]))
    monkeypatch.setattr(
        gpu, "evaluate_again", lambda *_, **__: scores_of([0.8, 0.79], [100, retention])
    )
    monkeypatch.setattr(gpu, "TESTS", ["tests/numerics/test_device.py"])
    monkeypatch.setattr(gpu, "FITS", {"b21": {"epochs": 1}})
    monkeypatch.setattr(gpu, "RATIO", 4)
    monkeypatch.setattr(gpu, "MODELS", {"minilm": "encoder"})
    monkeypatch.setattr(gpu, "EXAMPLES", {"cpu": 2})
    monkeypatch.setattr("sys.argv", ["bench.gpu", "--device", "cpu"])
    with pytest.raises(SystemExit) as ended:
        gpu.main()
    assert ended.value.code == status
    printed = capsys.readouterr().out
    assert ("MISSED" in printed) == bool(status) and "Examples of 128 tokens a second" in printed


def test_core_seconds_are_set_beside_those_of_a_release(tmp_path, monkeypatch, capsys):
    def job(rule, seconds):
        times = {"cpu_seconds": seconds, "startup_cpu_seconds": seconds / 4}
        return {"rule": rule, "wildcards": {}, **times}

    jobs = [job("evaluate", 3.0), job("evaluate", 1.0), job("scores", 2.0)]
    (tmp_path / "provenance.json").write_text(json.dumps({"embpress": "0.2.0", "jobs": jobs}))
    before = {"evaluate": {"jobs": 1, "total": 8.0, "startup": 4.0}}
    release = tmp_path / "release.json"
    monkeypatch.setattr(study, "RELEASE", release)
    arguments = ["study", "--provenance", str(tmp_path / "provenance.json")]
    monkeypatch.setattr(sys, "argv", arguments)
    study.main()  # before the first release that measured them
    assert "all | 3 | 6.0 | 25% | - | - | -" in capsys.readouterr().out

    release.write_text(json.dumps({"embpress": "0.1.0", "by_rule": before}))
    study.main()
    lines = [line.strip() for line in capsys.readouterr().out.splitlines()]
    assert "evaluate | 2 | 4.0 | 25% | 1 | 8.0 | 0.50" in lines
    assert "scores | 1 | 2.0 | 25% | - | - | -" in lines
    assert "all | 3 | 6.0 | 25% | 1 | 8.0 | 0.75" in lines

    monkeypatch.setattr(sys, "argv", [*arguments, "--save", str(release)])
    study.main()
    assert json.loads(release.read_text())["by_rule"]["evaluate"]["total"] == 4.0
    assert "all | 3 | 6.0 | 25% | 3 | 6.0 | 1.00" in capsys.readouterr().out


def test_lookups_of_text_are_timed_by_each_way_to_decode():
    dense = matrix(200, 16)
    windows = torch.arange(4 * decoding.TOKENS).view(4, -1) % 200
    stored = compress(dense, "integer", 3.5)
    times = decoding.measured(stored, dense, [3, 4], windows, runs=2)
    assert len(times) == 1 + len(get_args(Decode)) and min(times) > 0


def test_a_table_of_n_grams_is_measured_in_processes_of_their_own(monkeypatch, capsys):
    words = ["large_tables", "--rows", "300", "--dims", "32", "--methods", "int8"]
    monkeypatch.setattr(sys, "argv", words)
    large_tables.main()
    printed = capsys.readouterr().out
    assert "1,800 x 32" in printed and "6,144" in printed
    # A table this small is below what Python and torch take.
    assert "MISSED" in printed
