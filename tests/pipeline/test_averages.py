"""Averages over tasks of synthetic outcomes with known scores."""

import shutil
import subprocess
from dataclasses import replace

import numpy as np
import pandas
import pytest

from embpress.analysis.averages import average_labels
from embpress.analysis.scores import SCORE_COLUMNS, Labels
from embpress.errors import UserError
from embpress.pipeline.aggregation import Evaluation
from embpress.pipeline.averages import average, average_scores
from embpress.pipeline.evaluation import write_outcomes
from embpress.report.tables import average_table, latex_document, to_latex, to_text
from embpress.study.claim_entry import AverageEntry
from embpress.tasks import task_class
from embpress.tasks._bootstrap import compare

from ..fake_study import fake_scores
from ..studies import load, make_study
from .entries import classification

N = 300
WRONG = {"identity": 0.1, "svd": 0.3, "int4": 0.2}
"""Error rates on test examples."""
TASKS = {
    "mrpc": classification(metrics=["accuracy", "f1"]),
    "mnli": classification(),
    "mm": classification(),
}
STUDY = make_study(
    seeds=[0, 1],
    ratios=[4, 10],
    methods={"identity": {}, "svd": {}, "int4": {"method": "integer", "ratios": [3.9]}},
    tasks=TASKS,
    averages={"glue": {"label": "GLUE", "tasks": ["mrpc", ["mnli", "mm"]]}},
)


def outcomes(task, variant, seed):
    random = np.random.default_rng([len(task), len(variant), seed])
    gold = (random.random(N) < 0.6).astype(np.int16)
    return {
        "predicted": np.where(random.random(N) < WRONG[variant], 1 - gold, gold).astype(np.int16),
        "label": gold,
    }


@pytest.fixture
def found(tmp_path):
    """Evaluations and scores of the study, in which SVD cannot reach a ratio of 10."""
    evaluations = []
    rows = []
    for task in TASKS:
        for variant in STUDY.variants:
            for seed in STUDY.seeds:
                ratios = STUDY.variants[variant].ratios
                done = [r for r in ratios if (variant, r) != ("svd", 10)]
                path = tmp_path / f"{task}-{variant}-{seed}.safetensors"
                own = outcomes(task, variant, seed)
                base = outcomes(task, "identity", seed)
                write_outcomes({f"{r:g}": own for r in done}, path)
                evaluations.append(Evaluation(task, variant, seed, path, [], path, path))
                keys = dict(
                    model="m",
                    task=task,
                    protocol=STUDY.tasks[task].protocol,
                    method=variant,
                    seed=seed,
                    study="s",
                )
                for ratio in ratios:
                    about = keys | {
                        "target_ratio": np.nan if variant == "identity" else ratio,
                        "note": "",
                        "achieved_ratio": ratio + 0.1,
                    }
                    if ratio not in done:
                        rows.append(about | {"metric": "accuracy", "note": "too much asked"})
                        continue
                    for score in compare(task_class("classification"), own, base, task):
                        if score.metric in STUDY.tasks[task].reported_metrics:
                            rows.append(
                                about | {"metric": score.metric, "value": score.value, "n": score.n}
                            )
                            rows[-1] |= {"relative_error": 0.2 if task == "mrpc" else 0.5}
    return evaluations, pandas.DataFrame(rows, columns=SCORE_COLUMNS)


def test_glue_counts_its_two_mnlis_as_one(found):
    evaluations, scores = found
    rows = (
        average_scores(STUDY, evaluations, scores)
        .set_index(["method", "target_ratio", "seed", "metric"])
        .sort_index()
    )
    value = scores.set_index(["task", "method", "target_ratio", "seed", "metric"])["value"]
    for seed in (0, 1):
        mrpc = np.mean([value["mrpc", "svd", 4, seed, m] for m in ("accuracy", "f1")])
        mnli = np.mean([value[t, "svd", 4, seed, "accuracy"] for t in ("mnli", "mm")])
        row = rows.loc[("svd", 4, seed, "average")]
        assert row["value"] == pytest.approx((mrpc + mnli) / 2)
        assert rows.loc[("svd", 4, seed, "mrpc"), "value"] == pytest.approx(mrpc)
        assert row["retention_low"] < row["retention"] < row["retention_high"] < 100
        assert row["retention"] == pytest.approx(100 * row["value"] / row["uncompressed_value"])
        assert (
            row["n"] == 3 * N
            and row["achieved_ratio"] == 4.1
            and row["relative_error"] == pytest.approx(0.4)
        )


def test_the_interval_is_narrower_than_that_of_one_task_and_of_no_width_for_the_same_model(found):
    rows = average_scores(STUDY, *found)
    width = (
        (rows["retention_high"] - rows["retention_low"])
        .groupby([rows["method"], rows["metric"]])
        .mean()
    )
    assert width["int4", "average"] < min(width["int4", task] for task in TASKS)
    same = rows[rows["method"] == "identity"]
    assert (same[["retention", "retention_low", "retention_high"]] == 100).all().all()


def test_what_could_not_be_compressed_has_no_average_but_a_reason(found):
    rows = average_scores(STUDY, *found)
    short = rows[(rows["method"] == "svd") & (rows["target_ratio"] == 10)]
    assert short["metric"].tolist() == ["average"] * 2 and set(short["note"]) == {"too much asked"}
    assert short["value"].isna().all()


def test_a_method_that_lacks_a_task_is_left_out(found):
    evaluations, scores = found
    rows = average_scores(
        STUDY, evaluations, scores[(scores["method"] != "svd") | (scores["task"] != "mm")]
    )
    assert set(rows["method"]) == {"identity", "int4"}


def test_kroneckerberts_average_counts_each_mnli():
    """Table 2 of the paper: KroneckerBERT8's nine scores on the test of GLUE, and their average."""
    scores = dict(
        zip("abcdefghi", np.array([83.0, 82.7, 91.9, 88.5, 39.8, 71.5, 90.2, 67.2, 84.5]))
    )
    assert average(scores, list("abcdefghi")) == pytest.approx(77.7, abs=0.05)
    assert average(scores, [["a", "b"], *"cdefghi"]) == pytest.approx(77.1, abs=0.05)


def test_tables_show_the_average_and_its_tasks(found):
    task = {
        "metric": "accuracy",
        "metric_label": "accuracy",
        "model": "MiniLM",
        "label": "MRPC & co",
    }
    methods = {
        name: {"label": name, "kind": "control" if name == "identity" else "baseline"}
        for name in WRONG
    }
    labels = Labels.from_json(
        {"methods": methods, "tasks": dict.fromkeys(TASKS, task), "ratios": [4, 10]}
    )
    own = average_labels(STUDY.averages, labels)
    rows = average_scores(STUDY, *found)
    average = average_table(rows, own, "glue")
    table = to_latex(average)
    assert table.count(r"MRPC \&") == 3
    mean = rows[(rows["method"] == "int4") & (rows["metric"] == "average")]["value"].mean()
    assert f"{100 * mean:.1f}(" in table and "too much asked" in table
    text = to_text(average)
    assert f"{100 * mean:.1f}(" in text and own.tasks["glue"].label in text


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (
            {"tasks": ["rotten", "similarity"]},
            "averages.x: rotten and similarity .*`protocol`",
        ),
        (
            {"tasks": ["similarity", ["bitext"]]},
            "averages.x: similarity and bitext .*`model`",
        ),
        (
            {"tasks": ["rotten", "roten"]},
            "averages.x: .*'roten'.*'rotten'",
        ),
        ({"tasks": ["rotten"]}, "averages.x.tasks: .*at least 2"),
        ({"tasks": ["wikitext", "similarity"]}, "averages.x: wikitext .*perplexity"),
        ({"taks": []}, "averages.x: .*'taks'.*'tasks'"),
    ],
)
def test_wrong_averages_are_named(change, message, default_config):
    default_config["averages"] = {"x": {"label": "X", "tasks": ["rotten", "similarity"]} | change}
    with pytest.raises(UserError, match=message):
        load(default_config)


def test_an_average_has_no_tasks_name(default_config):
    default_config["averages"] = {"rotten": {"label": "X", "tasks": ["bitext", "similarity"]}}
    with pytest.raises(UserError, match="averages.rotten: .*name"):
        load(default_config)


@pytest.mark.skipif(shutil.which("pdflatex") is None, reason="needs pdflatex")
def test_glues_nine_tasks_fit_a_page(labels, tmp_path):
    """Scores of three seeds, with their intervals and standard deviations."""
    names = ["CoLA", "SST-2", "MRPC", "STS-B", "QQP", "MNLI-m", "MNLI-mm", "QNLI", "RTE"]
    about = labels.tasks["rotten"]
    one = replace(labels, tasks={name: replace(about, label=name) for name in names})
    entry = AverageEntry(label="GLUE", tasks=names)
    own = average_labels({"glue": entry}, one)
    found = fake_scores(seeds=3)
    found = found[found["task"] == "rotten"].assign(task="glue")
    rows = pandas.concat([found.assign(metric=metric) for metric in ("average", *names)])
    (tmp_path / "table.tex").write_text(
        latex_document([to_latex(average_table(rows, own, "glue"))])
    )
    command = ["pdflatex", "-interaction=nonstopmode", "-halt-on-error", "table.tex"]
    run = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True)
    assert run.returncode == 0 and "Overfull" not in run.stdout, run.stdout
