"""Baselines of whole models in integers, and the table of the benchmark on a tiny classifier."""

import sys

import torch

from bench import whole_models
from bench.integer_models import INTEGERS, IntegerRow, round_model
from embpress.models.calibration import Calibration
from embpress.models.dense_matrices import find_matrices

from .export.test_whole_model import dense
from .zoo import tiny


def test_all_matrices_of_a_model_are_rounded_and_counted():
    model = tiny("bert_classifier")
    before = [matrix.weight.clone() for matrix in find_matrices(model)]
    sizes = round_model(model, IntegerRow(4, 0, False), Calibration(), None)
    after = find_matrices(model)
    assert sizes.layers == sum(4 * w.numel() + 16 * len(w) for w in before)
    assert all(not torch.equal(old, new.weight) for old, new in zip(before, after))
    assert len({row.label for row in INTEGERS}) == len(INTEGERS)


def test_the_table_has_a_row_a_code(tmp_path, monkeypatch, capsys):
    dense(tmp_path / "dense")
    lines = [f"w{5 + i % 9} w{6 + i % 7} w9" for i in range(20)]
    (tmp_path / "train.txt").write_text("\n".join(lines))
    (tmp_path / "test.txt").write_text(
        "\n".join(f"{line}\t{i % 3}" for i, line in enumerate(lines))
    )
    words = ["--model", tmp_path / "dense", "--calibration", tmp_path / "train.txt"]
    words += ["--test", tmp_path / "test.txt", "--ratios", "3", "--ablated", "3", "--integers"]
    monkeypatch.setattr(sys, "argv", ["whole_models", *map(str, words)])
    whole_models.main()
    table = capsys.readouterr().out
    for row in (whole_models.OURS, *whole_models.ROWS, *INTEGERS):
        assert f"| {row.label} " in table
