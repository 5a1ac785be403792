"""The papers' published numbers.

Every one has a source, none is invented, all papers are methods of ours.
"""

import re

import pytest

from embpress.analysis.published import published_models, read_published
from embpress.errors import UserError
from embpress.methods import method_class, names

from ..conftest import ROOT

FILE = ROOT / "workflow/resources/published.csv"


@pytest.fixture(scope="module")
def papers():
    return read_published(FILE)


def test_the_papers_are_those_whose_methods_we_have(papers):
    """A paper's method without published numbers needs neither a line here nor a reference."""
    cited = {c for name in names() if (c := method_class(name).citation)}
    assert len(papers) >= 5 and set(papers) <= cited
    entries = set(
        re.findall(
            r"^@\w+\{(\S+),$",
            (ROOT / "workflow/resources/references.bib").read_text(),
            re.MULTILINE,
        )
    )
    assert entries >= set(papers)


def test_only_the_paper_that_was_read_has_scores(papers):
    for key, cells in papers.items():
        numbers = {(c.dataset, c.metric): c.value for c in cells if c.value}
        if key == "wang2023lighttoken":
            assert numbers == {
                ("GLUE", "gain"): "11",
                ("SQuAD v1.1", "gain"): "5",
            }  # the abstract's claim
        elif key != "tahaei2022kroneckerbert":
            assert not numbers, key


@pytest.mark.parametrize(
    ("table", "model", "dataset", "metric", "value"),
    [
        ("Table 2", "KroneckerBERT8", "MNLI-mm", "score", "82.7"),
        ("Table 3", "KroneckerBERT21", "STS-B", "score", "81.3"),
        ("Table 5", "TinyBERT", "SQuAD v2.0", "F1", "71.8"),
        ("Table 9", "KroneckerBERT8", "SST-2 to IMDb", "score", "86.5"),
    ],
)
def test_cells_stand_where_the_paper_has_them(papers, table, model, dataset, metric, value):
    (found,) = [
        c.value
        for c in papers["tahaei2022kroneckerbert"]
        if (c.table, c.model, c.dataset, c.metric) == (table, model, dataset, metric)
    ]
    assert found == value


def test_averages_are_those_of_the_cells(papers):
    """What was typed wrong would show in an average, which the paper printed itself.

    Of nine columns, MNLI twice.
    """
    for table, model in {
        (c.table, c.model) for c in papers["tahaei2022kroneckerbert"] if c.dataset == "average"
    }:
        row = {
            c.dataset: float(c.value)
            for c in papers["tahaei2022kroneckerbert"]
            if (c.table, c.model) == (table, model)
        }
        average = row.pop("average")
        assert sum(row.values()) / 9 == pytest.approx(average, abs=0.06), (table, model)


def test_whole_models_of_papers_stand_at_their_ratio_and_retention():
    models = {model.name: model for model in published_models(read_published(FILE))}
    kronecker = models["KroneckerBERT8"]
    assert kronecker.base == "BERT base" and kronecker.ratio == 7.8
    assert kronecker.retention == pytest.approx(100 * 77.7 / 79.5)
    # Parameters stand for a ratio that no paper gives; without GLUE's average, SQuAD counts.
    assert models["TinyBERT"].ratio == pytest.approx(109.5 / 14.5)
    assert models["KroneckerBERT21"].retention == pytest.approx(100 * 80.5 / 88)
    assert "BERT base" not in models


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        ("paper,table", "papers,table", "has columns"),
        (",11,abstract", ",eleven,abstract", "value 'eleven'"),
        ("KDD 2023; amazon.science blog", "", "no source"),
        (",11,abstract", ",11,abstract,more,cells", "more or fewer cells"),
    ],
)
def test_a_bad_file_is_named_with_its_line(tmp_path, old, new, message):
    text = FILE.read_text()
    assert old in text
    (tmp_path / "p.csv").write_text(text.replace(old, new, 1))
    with pytest.raises(UserError, match=message):
        read_published(tmp_path / "p.csv")
