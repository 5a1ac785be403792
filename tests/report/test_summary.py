"""Which method for which budget."""

import dataclasses
import re

import pandas
import pytest

from embpress.report.html.summary import NO_RESULT, recommend_methods

from ..fake_study import RATIOS, fake_labels, fake_scores


def test_the_best_mean_of_those_within_budget_is_chosen():
    scores = fake_scores()
    labels = fake_labels()
    found = recommend_methods(scores, labels)
    assert [choice.ratio for choice in found] == RATIOS
    # int8 keeps most of all, but is larger than 4x allows.
    own = scores[(scores["target_ratio"] == 4) & (scores["metric"] != "x")]
    main = own[own.apply(lambda row: row["metric"] == labels.tasks[row["task"]].metric, axis=1)]
    means = main.groupby("method")["retention"].mean().sort_values(ascending=False)
    assert found[0].method == labels.methods[means.index[0]].label
    assert found[0].retention == pytest.approx(means.iloc[0])
    assert found[0].runner_up == labels.methods[means.index[1]].label
    own = main[main["method"] == means.index[0]].set_index("task")["retention"]
    assert found[0].worst == own.min() and found[0].worst_task == labels.tasks[own.idxmin()].label
    assert set(found[0].by_task) == {f"{t.label}, {t.metric_label}" for t in labels.tasks.values()}


def test_whole_models_do_not_compete_and_students_have_no_part_in_the_mean():
    scores = fake_scores()
    labels = fake_labels()
    before = recommend_methods(scores, labels)
    best = dataclasses.replace(
        labels.methods["b23"], label="B23, whole model", compresses_layers=True
    )
    with_whole = dataclasses.replace(labels, methods=labels.methods | {"whole": best})
    better = scores[scores["method"] == "b23"].assign(
        method="whole", retention=99.9, mean_retention_low=99, mean_retention_high=101
    )
    assert (
        recommend_methods(pandas.concat([scores, better], ignore_index=True), with_whole) == before
    )
    scores.loc[scores["task"] == "rotten", "protocol"] = "compress_then_distil"
    without = dataclasses.replace(
        labels, tasks={k: t for k, t in labels.tasks.items() if k != "rotten"}
    )
    alone = recommend_methods(scores[scores["task"] != "rotten"], without)
    assert [c.retention for c in recommend_methods(scores, labels)] == [c.retention for c in alone]
    assert "Rotten Tomatoes, accuracy" in recommend_methods(scores, labels)[0].by_task


def test_methods_within_the_intervals_of_all_tasks_are_named():
    scores = fake_scores()
    labels = fake_labels()
    for column in ("retention", "mean_retention_low", "mean_retention_high"):
        scores.loc[scores["method"] == "svd", column] = scores[scores["method"] == "b23"][
            column
        ].to_numpy()
    first = recommend_methods(scores, labels)[0]
    assert "SVD" in [first.method, *first.as_good]


def test_each_task_says_how_many_methods_are_as_good_as_its_best():
    scores = fake_scores()
    labels = fake_labels()
    on_task = (scores["task"] == "rotten") & (scores["target_ratio"] == 4)
    scores.loc[on_task, "mean_retention_high"] = 0.0
    assert " 0 of " in recommend_methods(scores, labels)[0].by_task["Rotten Tomatoes, accuracy"]
    scores.loc[on_task, "mean_retention_high"] = 200.0
    told = recommend_methods(scores, labels)[0].by_task["Rotten Tomatoes, accuracy"]
    as_good, others = map(int, re.search(r"(\d+) of (\d+) others", told).groups())
    assert as_good == others > 0


def test_tasks_without_results_are_left_out_and_the_others_have_a_best():
    scores = fake_scores()
    labels = fake_labels()
    scores = scores[(scores["task"] != "rotten") | (scores["method"] == "identity")]
    first = recommend_methods(scores, labels)[0]
    assert first.method == "" and "Rotten Tomatoes, accuracy" not in first.by_task
    assert len(first.by_task) == len(labels.tasks) - 1
    assert "%" in first.by_task["Similarity, mean Spearman"]


def test_a_ratio_without_results_on_a_task_says_so():
    scores = fake_scores()
    labels = fake_labels()
    at_ten = (scores["task"] == "rotten") & (scores["target_ratio"] == 10)
    by_ratio = [best.by_task for best in recommend_methods(scores[~at_ten], labels)]
    shown = [by_task["Rotten Tomatoes, accuracy"] == NO_RESULT for by_task in by_ratio]
    assert shown == [False, True, False]
