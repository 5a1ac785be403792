import sys

import pytest
import torch

from bench import codes
from bench.listed_codes import codes as listed_codes
from embpress.methods import compress, controls, names
from tests.methods.samples import context_of, matrix_of


@pytest.fixture
def run(tmp_path, monkeypatch):
    """Run the program on a small table; returns the lines of the CSV and the page."""
    monkeypatch.setattr(codes, "embedding_matrix", lambda folder: matrix_of(300, 32))
    monkeypatch.setattr(codes, "read_counts", lambda path: context_of(300).counts)
    monkeypatch.setattr(codes, "read_metadata", lambda folder: {"special_ids": [0]})
    (tmp_path / "models/minilm").mkdir(parents=True)

    def start(*arguments):
        program = ["codes", "--results", str(tmp_path), "--out", str(tmp_path)]
        monkeypatch.setattr(sys, "argv", [*program, "--models", "minilm", *arguments])
        codes.main()
        return codes.read_lines(tmp_path / "codes.csv"), (tmp_path / "codes.md").read_text()

    return start


def test_a_line_is_measured_once_and_stands_in_the_page(run, monkeypatch):
    lines, page = run("--codes", "rotated signs;GGUF Q4_0, fixed size", "--ratios", "7.1,4,8,25")
    assert [line[1:3] for line in lines] == [
        ("fixed size", "GGUF Q4_0"),
        *((f"{ratio}x", "rotated signs") for ratio in (4, 8, 25)),
    ]
    matrix = matrix_of(300, 32)
    decoded = compress(matrix, "rotated_signs", 8, context_of(300)).dense()
    error = float((decoded - matrix).norm() / matrix.norm())
    assert float(lines[2].relative_error) == pytest.approx(error, rel=1e-4)
    assert lines[0].relative_error == lines[0].peer_error and not lines[1].peer_error
    assert not lines[3].ratio  # cannot reach 25x on so narrow a matrix
    assert "| **8x** |" in page and "**25x**" not in page
    assert f"| rotated signs | 8.0{lines[2].ratio[3]} | {error:.4f} |" in page
    monkeypatch.setattr(codes.Table, "measure", lambda *_: 1 / 0)
    assert run("--codes", "rotated signs", "--ratios", "4,8")[0] == lines
    with pytest.raises(ZeroDivisionError):
        run("--codes", "rotated signs", "--ratios", "4,8", "--again")


def test_an_unknown_code_or_a_missing_model_ends_the_program(run, capsys, tmp_path):
    with pytest.raises(SystemExit):
        run("--codes", "rotated sings")
    assert "there is no rotated sings; there are int8 rows" in capsys.readouterr().err
    (tmp_path / "models/minilm").rmdir()
    with pytest.raises(SystemExit):
        run("--codes", "rotated signs")
    assert "has no model minilm" in capsys.readouterr().err


WITH_PEER = [code for code in listed_codes().values() if code.peer]


@pytest.mark.parametrize("code", WITH_PEER, ids=lambda code: code.label)
def test_independent_implementations_decode_the_same_values(code):
    matrix = matrix_of(200, 128)
    ours = compress(matrix, code.method, code.ratios[0], **code.options).dense()
    peer = torch.from_numpy(code.peer(matrix.numpy())).float()
    differ = ours - peer
    # A value halfway between two levels may take either in float32 and in float64.
    assert (differ.abs() > 1e-6).float().mean() < 1e-3
    assert float(differ.norm() / matrix.norm()) < 2e-3


def test_every_method_but_the_controls_is_measured():
    measured = {code.method for code in listed_codes().values()}
    assert measured == set(names()) - controls()
