"""Tables of published numbers beside a made-up study's."""

import re
from dataclasses import replace

import pandas
import pytest

from embpress.analysis.published import read_published
from embpress.errors import UserError
from embpress.report.tables import paper_tables, to_latex

from ..conftest import ROOT
from ..fake_study import CITATIONS, fake_scores

PAPERS = read_published(ROOT / "workflow/resources/published.csv")
KRONECKER, B21, LIGHTTOKEN = (PAPERS[CITATIONS[m]] for m in ("kronecker", "b21", "lighttoken"))


def paper_table(cells, scores, labels):
    return to_latex(*paper_tables(cells, scores, labels))


def lines_of(table, label):
    """Cells of the lines that begin with a label."""
    return [
        line.removesuffix(r" \\").split(" & ")[1:]
        for line in table.splitlines()
        if line.split(" & ")[0].split(r"\textsuperscript")[0] == label and " & " in line
    ]


def test_published_and_own_numbers_stand_in_their_cells(scores, labels):
    table = paper_table(KRONECKER, scores, labels)
    k8 = lines_of(table, "KroneckerBERT8")
    assert k8[0] == [
        "14.3",
        "7.8",
        *["83.0", "82.7", "91.9", "88.5", "39.8", "71.5", "90.2", "67.2", "84.5", "77.7"],
    ]
    assert lines_of(table, "LadaBERT4")[0][2:5] == ["75.8", "76.1", "84.0"]
    pick = (
        (scores["method"] == "kronecker")
        & (scores["target_ratio"] == 10)
        & (scores["task"] == "rotten")
    )
    own = lines_of(table, "Kronecker (init only)")
    assert len(own) == 3 and own[1][1] == f"{100 * scores[pick]['value'].iloc[0]:.1f}"


def test_the_ratio_is_of_what_the_papers_is(scores, labels):
    first = lines_of(paper_table(KRONECKER, scores, labels), "Kronecker (init only)")[0][0]
    assert first.startswith("2.0")  # of the whole model: 1 + (4 - 1) / 3
    assert lines_of(paper_table(LIGHTTOKEN, scores, labels), "LightToken")[1][0] == "4.0"


def test_what_has_no_source_is_not_available(scores, labels):
    table = paper_table(B21, scores, labels)
    missing = [
        r"\multicolumn{3}{c}{\tiny not available}",
        r"\multicolumn{4}{c}{\tiny not available}",
    ]
    assert lines_of(table, "Linear autoencoder") == [
        [ratio, *missing] for ratio in ("2.5", "5", "10")
    ]
    own = lines_of(table, "B21 binary codes")
    assert len(own) == 3 and all(
        line[1] == missing[0] and not any("not available" in c for c in line[2:]) for line in own
    )
    assert "far better perplexity than SVD" in table


def test_a_method_that_the_paper_compares_with_stands_beside_ours(scores, labels):
    table = paper_table(B21, scores, labels)
    assert len(lines_of(table, "SVD")) == 3 + 3
    assert "bfseries" in table and "bfseries" not in paper_table(LIGHTTOKEN, scores, labels)
    assert "int8" not in table


def test_rows_as_published_stand_beside_those_at_their_best(scores, labels):
    published = {
        f"{name}_published": replace(
            about, label=f"{about.label}, as published", setting="published"
        )
        for name, about in labels.methods.items()
        if name in ("svd", "b21", "int8")
    }
    own = scores[scores["method"].isin(["svd", "b21", "int8"])]
    own = own.assign(method=own["method"] + "_published", setting="published")
    both = pandas.concat([scores, own], ignore_index=True)
    table = paper_table(B21, both, replace(labels, methods=labels.methods | published))
    for label in ("SVD", "SVD, as published", "B21 binary codes", "B21 binary codes, as published"):
        assert len(lines_of(table, label)) >= 3
    assert "int8" not in table


def test_a_task_with_the_papers_data_stands_in_its_column(scores, labels):
    tasks = labels.tasks | {"rotten": replace(labels.tasks["rotten"], label="SST-2")}
    table = paper_table(KRONECKER, scores, replace(labels, tasks=tasks))
    own = lines_of(table, "Kronecker (init only)")
    # With the columns of GLUE's test and development splits, whose metrics differ, and the study's.
    assert len(own) == 9
    value = own[7][1]
    assert value in own[4]
    assert re.fullmatch(r"\d\d\.\d", value) and own[1][2:5] == [
        r"\multicolumn{2}{c}{\tiny not available}",
        value,
        own[1][4],
    ]


def test_seeds_are_shown_as_uncertainty(labels):
    table = paper_table(LIGHTTOKEN, fake_scores(seeds=3), labels)
    assert re.fullmatch(r"\d\d\.\d\(\d+\)", lines_of(table, "LightToken")[1][2])
    assert "Means over 3 seeds" in table


def test_what_differs_is_told(scores, labels):
    table = paper_table(PAPERS["tamura2024frequency"], scores, labels)
    assert "Model: DistilBERT in the paper, here MiniLM-L6 (Rotten Tomatoes, Similarity)" in table
    assert (
        "Protocol: fine-tuned, then compressed in the paper, here fine-tuned, then compressed "
        "(Rotten Tomatoes)" in table
    )
    assert "Data: GLUE; JGLUE in the paper" in table and "ACL Anthology 2024.conll-1.29" in table


def test_a_study_without_the_method_says_so(scores, labels):
    without = scores[scores["method"] != "lighttoken"]
    methods = {m: a for m, a in labels.methods.items() if m != "lighttoken"}
    table = paper_table(LIGHTTOKEN, without, replace(labels, methods=methods))
    assert (
        "Ours: not available, as the study has no row of this method" in table
        and "uncompressed" not in table
    )


def test_labels_that_name_no_paper_are_refused(scores, labels):
    methods = {m: replace(a, citation="") for m, a in labels.methods.items()}
    with pytest.raises(UserError, match="labels.json.*rule `scores`"):
        paper_table(B21, scores, replace(labels, methods=methods))
