"""The page of sentence scores: written by the command, with a row for each variant."""

import importlib
import re

import numpy as np
import pytest

pytestmark = pytest.mark.xdist_group("sentence-transformers")


def cells(page):
    """Rows of the page's table, the first of them heads."""
    lines = [line for line in page.read_text().splitlines() if line.startswith("|")]
    return [
        [cell.strip() for cell in line.strip("|").split("|")] for line in lines if "---" not in line
    ]


def test_the_page_has_a_row_for_each_variant(tmp_path):
    bench = importlib.import_module("bench.sentence_scores")
    heads, *rows = cells(bench.PAGE)
    assert [row[0] for row in rows] == [variant[0] for variant in bench.VARIANTS]
    assert {*heads} >= {*bench.READERS, *bench.TASKS}
    assert all(float(row[1]) >= variant[2] for row, variant in zip(rows, bench.VARIANTS))
    measured = re.search(r"commit `\w+`, [\d-]+", bench.PAGE.read_text()).group()
    bench.write_page([heads, *rows], tmp_path / "page.md", measured)
    assert (tmp_path / "page.md").read_text() == bench.PAGE.read_text()


def test_a_perfect_encoder_of_judged_pairs_scores_100(monkeypatch, tmp_path):
    bench = importlib.import_module("bench.sentence_scores")
    words = b"# words\na\tb\t9\na\tc\t5\na\td\t1\n"
    monkeypatch.setattr(bench, "READERS", {"simlex999": bench.READERS["simlex999"]})
    monkeypatch.setattr(bench.packages, "read", lambda wheel, member: words)
    angle = {"a": 0.0, "b": 0.1, "c": 0.7, "d": 1.4}
    score = bench.similarity_scorers(tmp_path)["simlex999"]

    def encode(texts):
        return np.array([[np.cos(angle[t]), np.sin(angle[t])] for t in texts])

    assert score(encode) == pytest.approx(100)
    angle |= {"b": 1.4, "d": 0.1}
    assert score(encode) == pytest.approx(-100)
