import argparse

import pytest
import torch

from bench.common import GENERATED, chosen_of, matrix, peak_bytes, write_matrix
from bench.scale import fit
from embpress.matrices import FileMatrix
from embpress.timing import times_of


def test_a_matrix_is_the_same_on_disk_and_its_first_rows_at_any_length(tmp_path):
    rows = GENERATED + 100
    write_matrix(tmp_path / "m", rows, 24)
    assert torch.equal(FileMatrix(tmp_path / "m", (rows, 24), torch.float16)[:], matrix(rows, 24).half().float())
    assert torch.equal(matrix(50, 24), matrix(rows, 24)[:50])


def test_a_fit_from_disk_tells_its_time_peak_and_ratio(tmp_path, capsys):
    write_matrix(tmp_path / "m", 500, 24)
    fit(str(tmp_path / "m"), 500, 24, "int4", str(tmp_path / "out"))
    assert '"ratio": 8.7' in capsys.readouterr().out


def test_peak_is_what_was_held_at_once():
    before, held = peak_bytes(), torch.ones(1 << 24)
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
    assert times_of([3.0, 1.0, 2.0]) == (2.0, 1.5, 2.5)
    assert str(times_of([0.002])) == "2 ms [2, 2]"
