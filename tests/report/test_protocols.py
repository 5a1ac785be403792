"""Protocols of one task side by side: the comparison, its table and its figure."""

from dataclasses import replace

import pandas
import pytest

from embpress.analysis.protocols import compare_protocols
from embpress.report.plots import retention_by_protocol
from embpress.report.tables import protocol_tables, to_html, to_latex, to_text

from ..fake_study import fake_labels, fake_scores
from ..studies import make_study
from ..task_entries import complete

STUDENTS = {"rotten_first": "compress_then_finetune", "rotten_distilled": "compress_then_distil"}
LOST = {"rotten_first": 3.0, "rotten_distilled": 1.0}


@pytest.fixture(scope="module")
def study():
    """Scores of three seeds with two students' tasks, of which one lacks a method."""
    scores = fake_scores(seeds=3)
    labels = fake_labels()
    parts = [scores]
    own = scores[scores["task"] == "rotten"]
    for task, protocol in STUDENTS.items():
        more = own.assign(task=task, protocol=protocol)
        for column in ("retention", "mean_retention_low", "mean_retention_high"):
            more[column] -= LOST[task]
        parts.append(more[(task != "rotten_first") | (more["method"] != "t24")])
    students = {
        task: replace(labels.tasks["rotten"], label=f"Rotten, {protocol}", family="rotten")
        for task, protocol in STUDENTS.items()
    }
    labels = replace(labels, tasks=labels.tasks | students)
    return pandas.concat(parts, ignore_index=True), labels


def test_methods_are_compared_within_a_task_and_ratio(study):
    scores, labels = study
    compared = compare_protocols(scores, labels)
    assert set(compared["family"]) == {"rotten"}
    assert set(compared["task"]) == {"rotten", *STUDENTS}
    assert not set(compared["method"]) & {"identity", "random", "mean"}
    svd = compared[(compared["method"] == "svd") & (compared["target_ratio"] == 10)]
    by_task = svd.set_index("task")["retention"]
    assert list(by_task.index) == ["rotten", *STUDENTS]
    for task, lost in LOST.items():
        assert by_task["rotten"] - by_task[task] == pytest.approx(lost)


def test_tasks_without_students_are_not_compared():
    assert compare_protocols(fake_scores(), fake_labels()).empty
    assert protocol_tables(compare_protocols(fake_scores(), fake_labels()), fake_labels()) == []


def test_the_table_has_a_column_for_each_protocol(study):
    scores, labels = study
    (table,) = protocol_tables(compare_protocols(scores, labels), labels)
    heads = [column.group[0] for column in table.columns if column.group]
    assert heads[::2] == [
        "fine-tuned, then compressed",
        "compressed, then fine-tuned",
        "compressed, then distilled",
    ]
    (row,) = (row for row in table.sections[1].rows if row[0].text == labels.methods["t24"].label)
    assert row[4].text == "--" and row[4].marks and row[2].sort != row[6].sort
    assert any("3 seeds" in note for note in table.notes)
    assert to_text(table).splitlines()[0].split()[3:5] == ["tuned", "first"]
    for text in (to_text(table), to_latex(table), to_html(table)):
        assert "Rotten Tomatoes" in text


def test_tasks_that_share_a_protocol_are_told_apart_by_their_labels(study):
    scores, labels = study
    scores = scores.assign(
        protocol=scores["protocol"].replace("compress_then_finetune", "compress_then_distil")
    )
    (table,) = protocol_tables(compare_protocols(scores, labels), labels)
    heads = {column.group[0] for column in table.columns if column.group}
    assert {labels.tasks[task].label for task in STUDENTS} <= heads


def test_the_figure_has_a_panel_for_each_ratio_and_a_colour_for_each_protocol(study):
    figure = retention_by_protocol(compare_protocols(*study), study[1])
    assert len(figure.axes) == 3
    (legend,) = figure.legends
    assert {text.get_text() for text in legend.get_texts()} >= {
        "fine-tuned, then compressed",
        "compressed, then distilled",
    }
    names = [tick.get_text() for tick in figure.axes[1].get_yticklabels()]
    assert "SVD" in names and "T24 sparse coding" in names


@pytest.mark.parametrize(("methods", "expected"), [(["svd"], True), (["b21"], False)])
def test_a_study_compares_protocols_where_a_method_runs_by_two(methods, expected):
    data = {"format": "csv", "train": "a.csv", "test": "b.csv", "text": "t", "label": "l"}
    plain = complete("classification", {"data": data | {"labels": ["no", "yes"]}})
    student = {key: value for key, value in plain.items() if key != "finetune"}
    stage = {"epochs": 1, "batch_size": 1, "learning_rate": 1e-3}
    student |= {"protocol": "compress_then_distil", "checkpoint": "plain", "methods": methods}
    plain |= {"methods": ["svd"]}
    tasks = {"plain": plain, "student": student | {"distil": {"stage2": stage}}}
    study = make_study(methods={"identity": {}, "svd": {}, "b21": {}}, tasks=tasks, ratios=[4])
    assert study.compares_protocols == expected
