"""Paired differences of synthetic outcomes with known error rates."""

import numpy as np
import pytest

from embpress.pipeline.paired_differences import MEAN, paired_differences

from ..studies import make_study
from .entries import classification, write_evaluations

WRONG = {"identity": 0.0, "random": 0.5, "svd": 0.2, "b21": 0.2, "int4": 0.1}
"""Error rates on test examples; SVD and B21 get other examples wrong."""
STUDY = make_study(
    seeds=[0, 1],
    ratios=[4, 10],
    methods={
        "identity": {},
        "random": {},
        "svd": {},
        "b21": {"ratios": [2, 4]},
        "int4": {"method": "integer", "ratios": [3.9]},
    },
    tasks={"mrpc": classification(), "cola": classification()},
)


@pytest.fixture
def rows(tmp_path):
    """Differences of the study, in which SVD cannot reach a ratio of 10 on CoLA."""
    write_evaluations(STUDY, WRONG, tmp_path, [("cola", "svd", 10)])
    keys = ["task", "ratio", "first", "second"]
    return paired_differences(STUDY, tmp_path).set_index(keys).sort_index()


def test_the_interval_of_a_true_difference_excludes_0_and_that_of_equal_methods_covers_it(rows):
    better = rows.loc["mrpc", 4, "svd", "int4"]
    assert better["difference"] == pytest.approx(
        better["first_retention"] - better["second_retention"]
    )
    assert -13 < better["difference"] < -7 and better["high"] < 0
    equal = rows.loc["mrpc", 4, "svd", "b21"]
    assert equal["low"] < 0 < equal["high"]


def test_each_method_stands_against_the_uncompressed_model(rows):
    own = rows.loc["mrpc", 4, "int4", "identity"]
    assert own["first_retention"] == pytest.approx(100 + own["difference"])
    assert rows.loc["mrpc", 10, "random", "identity"]["high"] < -40
    assert (rows["seeds"] == 2).all()


def test_a_mean_has_the_methods_that_have_a_result_on_every_task(rows):
    first = rows.loc[MEAN, 10].reset_index()["first"]
    assert set(first) == {"random"}
    both = [rows.loc[task, 4, "svd", "identity"]["difference"] for task in STUDY.tasks]
    assert rows.loc[MEAN, 4, "svd", "identity"]["difference"] == pytest.approx(np.mean(both))


def test_methods_are_listed_at_the_ratio_of_the_study_that_is_nearest(rows):
    at_4 = rows.loc["mrpc", 4].reset_index()
    assert {"int4", "b21", "random"} <= set(at_4["first"])
    assert not at_4.duplicated(["first", "second"]).any()
