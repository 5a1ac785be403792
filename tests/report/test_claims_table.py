"""The tables of claims: which comparisons count, and which achieved ratio is shown."""

from dataclasses import replace

import pandas
import pytest

from embpress.analysis.verdicts import CLAIM_COLUMNS, shown_claims
from embpress.report.tables import claims_overview, claims_table, to_text
from embpress.study.claim_entry import ClaimEntry

from ..fake_study import fake_labels, fake_scores

CLAIM = {"paper": "B23", "text": "It is better.", "evidence": "inferred"}
COMPARED = {"better": "b23", "worse": "svd"}


@pytest.fixture
def labels():
    """`b23` compresses layers too."""
    labels = fake_labels()
    layers = replace(labels.methods["b23"], compresses_layers=True)
    return replace(labels, methods=labels.methods | {"b23": layers})


@pytest.fixture
def scores():
    """At 10x, SVD and B23 have lost nearly everything on review lines, at 25x SVD alone."""
    scores = fake_scores()
    rotten = scores["task"] == "rotten"
    for ratio, methods in ((10, ["svd", "b23"]), (25, ["svd"])):
        lost = rotten & (scores["target_ratio"] == ratio) & scores["method"].isin(methods)
        scores.loc[lost, "retention"] = 4.9
    return scores


@pytest.fixture
def claims():
    comparison = COMPARED | {"on": "rotten", "by": "accuracy"}
    return {"one": ClaimEntry.model_validate(CLAIM | {"comparisons": [comparison]})}


@pytest.fixture
def rows():
    """Claims.csv: three ratios on accuracy, and an error of the matrix."""
    numbers = dict.fromkeys(("better_value", "worse_value", "difference", "low", "high"), 0.1)
    same = numbers | CLAIM | COMPARED | {"claim": "one", "task": "rotten", "seeds": 1, "note": ""}
    same |= {"better_achieved_ratio": 77.0, "worse_achieved_ratio": 88.0, "verdict": "holds"}
    measured = [(4.0, "accuracy"), (10.0, "accuracy"), (25.0, "accuracy"), (10.0, "mean_cosine")]
    lines = [same | {"ratio": ratio, "metric": metric} for ratio, metric in measured]
    return pandas.DataFrame(lines, columns=CLAIM_COLUMNS)


def test_scores_of_no_use_are_told_and_not_counted(rows, scores, claims, labels):
    wanted = "holds at 2 of 2 (1 of no use); of errors without interval holds at 1 of 1"
    table = claims_table(shown_claims(rows, scores, labels), claims, labels)
    assert [row[-1].text for row in table.rows()] == ["holds", "of no use", "holds", "holds"]
    for shown in (table, claims_overview(shown_claims(rows, scores, labels), claims)):
        words = " ".join(to_text(shown).split())
        assert wanted in words and "neither model keeps 5 %" in words


def test_a_comparison_that_was_not_measured_stays_so(rows, scores, claims, labels):
    rows.loc[1, "verdict"] = "not measured"
    table = claims_table(shown_claims(rows, scores, labels), claims, labels)
    assert table.rows()[1][-1].text == "not measured"


def test_the_ratio_of_a_whole_model_is_shown_where_layers_are_compressed(
    rows, scores, claims, labels
):
    scores["model_ratio"] = 7.5
    table = claims_table(shown_claims(rows, scores, labels), claims, labels)
    assert {row[1].text for row in table.rows()} == {"7.5, 88.0"}
