import argparse
import json
import sys

import numpy as np
import pytest
import torch

from bench import counting, study
from bench.common import GENERATED, chosen_of, matrix, peak_bytes, write_matrix
from bench.scale import fit
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
        way(tmp_path / "text", tmp_path / "model", "whitespace", tmp_path)
    by_words, alone = map(json.loads, capsys.readouterr().out.splitlines())
    counts = np.load(tmp_path / "ours.npy")
    assert counts.sum() > 30_000 and (counts == np.load(tmp_path / "tokenizer_alone.npy")).all()
    assert by_words["processor"] > 0 and alone["peak"] > 1 << 20


def test_made_up_words_differ_and_frequent_ones_are_short():
    words = [counting.word(n) for n in range(20_000)]
    assert len(set(words)) == len(words) and len(words[0]) == 2 and len(words[-1]) > 4


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
