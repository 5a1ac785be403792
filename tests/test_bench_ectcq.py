import sys

import pytest

from bench import ectcq
from tests.methods.samples import context_of, matrix_of


def test_a_line_has_the_shares_of_all_bits(tmp_path, monkeypatch, capsys):
    monkeypatch.setattr(ectcq, "embedding_matrix", lambda folder: matrix_of(600, 32))
    monkeypatch.setattr(ectcq, "read_counts", lambda path: context_of(600).counts)
    monkeypatch.setattr(ectcq, "read_metadata", lambda folder: {"special_ids": [0]})
    monkeypatch.setattr(ectcq, "RUNS", 2)
    program = ["ectcq", "--results", str(tmp_path), "--models", "e5", "--ratios", "4"]
    monkeypatch.setattr(sys, "argv", program)
    ectcq.main()
    head, _, line = capsys.readouterr().out.splitlines()
    cells = [cell.strip() for cell in line.strip("|").split("|")]
    assert len(cells) == head.count("|") - 1 and cells[0] == "e5"
    assert float(cells[1]) == pytest.approx(4, abs=0.05)
    basis, references, records, rows = (float(cells[i].rstrip(" %")) for i in (4, 5, 6, 8))
    assert 0 < basis < 50 and 0 < records < 50 and 0 <= references < 50
    assert 30 < rows < 100 - basis - references - records
