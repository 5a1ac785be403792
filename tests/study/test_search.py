"""The search for settings of fine-tuning.

The grid, the choice, and candidates that see no held-out row.
"""

import json
import math

import numpy as np
import pandas
import pytest
import torch
from safetensors.torch import load_file
from snakemake.target_jobs import parse_target_jobs_cli_args

from embpress.errors import UserError
from embpress.models.loading import auto_class
from embpress.report.paper import TABLES
from embpress.report.tables import search_table, to_latex, to_text
from embpress.study import search
from embpress.study.task_training import FineTuning
from embpress.tasks import TaskInputs
from embpress.tasks._encoding import encode_examples
from embpress.training import fine_tuning as training
from embpress.training.loop import TrainingContext

from ..studies import load
from ..task_entries import files_of, make_task

CONTEXT = TrainingContext(seed=0)
GRID = {
    "learning_rate": [5e-5, 3e-5, 2e-5],
    "batch_size": 32,
    "epochs": [3, 4],
    "held_out": 0.1,
    "precision": "bf16",
}


def candidates(settings):
    return search.candidates(FineTuning.model_validate(settings))


def test_lists_span_a_grid_whose_last_list_varies_fastest():
    found = candidates(GRID)
    assert list(found) == [
        f"epochs_{n}+learning_rate_{rate}" for n in (3, 4) for rate in ("5e-05", "3e-05", "2e-05")
    ]
    assert found["epochs_4+learning_rate_3e-05"] == {
        "learning_rate": 3e-5,
        "batch_size": 32,
        "epochs": 4,
        "precision": "bf16",
    }
    one = found["epochs_4+learning_rate_3e-05"]
    assert FineTuning.model_validate(GRID).is_searched
    assert not FineTuning.model_validate(one).is_searched


def test_snakemake_passes_names_on_to_jobs():
    for name in candidates(GRID | {"weight_decay": [0, 0.01]}):
        (spec,) = parse_target_jobs_cli_args([f"search:task=a,candidate={name}"])
        assert spec.wildcards_dict == {"task": "a", "candidate": name}


@pytest.mark.parametrize(
    ("scores", "place"),
    [
        ([0.1, 0.3, 0.2], 1),
        ([0.3, 0.2, 0.3], 0),
        ([math.nan, -0.2, math.nan], 1),
        ([math.nan] * 2, 0),
    ],
)
def test_the_highest_score_is_chosen_and_of_equal_ones_the_first(scores, place):
    found = [{"score": score, "settings": {"epochs": i}} for i, score in enumerate(scores)]
    assert search.best(found) == place
    entry = {"kind": "regression", "finetune": GRID}
    assert search.with_best_settings(entry, found) == {
        "kind": "regression",
        "finetune": {"epochs": place},
    }
    assert search.with_best_settings(entry, []) == entry


def test_a_student_takes_its_teachers_choice_and_searches_none_itself(default_config):
    default_config["tasks"]["rotten"]["finetune"] |= {"epochs": [1, 2], "held_out": 0.1}
    student = {"label": "x", "protocol": "compress_then_finetune", "checkpoint": "rotten"}

    def checked(**own):
        return load(
            default_config | {"tasks": default_config["tasks"] | {"student": student | own}}
        )

    study = checked()
    assert study.tasks["student"].finetune == study.tasks["rotten"].finetune
    assert study.searched_tasks() == ["rotten"]
    plain = {"epochs": 1, "batch_size": 32, "learning_rate": 1e-4}
    checked(finetune=plain)
    for wrong in ({"epochs": [3, 4], "held_out": 0.1}, {"held_out": 0.1}):
        with pytest.raises(
            UserError,
            match="tasks.student.finetune.*: (.*searched for uncompressed|no setting has a list)",
        ):
            checked(finetune=plain | wrong)


# Over a tiny model

TEXTS = [
    "cat",
    "dog",
    "the cats",
    "a dog",
    "a b",
    "cab",
    "the cat the dog",
    "dogs",
    "abc",
    "cats",
    "bab",
    "the abc",
]
TUNE = {"epochs": [1, 3], "batch_size": 4, "learning_rate": [1e-3, 1e-2], "held_out": 1 / 3}


def task_of(folder, finetune, files=("train", "test"), **entry):
    """Pairs of texts in two files.

    Each text stands in two pairs, and film 0, 1, 2 or 3 is the group.
    """
    for split, n in (("train", 0), ("test", 7)):
        pairs = [
            {
                "a": f"{text} {i}",
                "b": f"{TEXTS[i ^ 1]} {i ^ 1}",
                "y": str(i % 3),
                "film": str((i + n) % 4),
            }
            for i, text in enumerate(TEXTS)
        ]
        lines = [json.dumps(pair | {"a": pair["a"] + " b" * n}) for pair in pairs]
        (folder / f"{split}.jsonl").write_text("\n".join(lines) + "\n")
    data = {
        "format": "jsonl",
        "text": ["a", "b"],
        "label": "y",
        "train": "train.jsonl",
        "test": "test.jsonl",
    }
    data |= entry.pop("data", {})
    entry = {
        "kind": "regression",
        "protocol": "finetune_then_compress",
        "max_length": 16,
        "data": data,
    } | entry
    paths = {split: folder / path for split, path in files_of(entry, files).items()}
    return make_task(entry["kind"], entry | {"finetune": finetune}, TaskInputs({}, files=paths))


def tried(base, folder, **entry):
    """What all candidates came to, each from the training file alone."""
    found = []
    for name, settings in candidates(TUNE).items():
        path = folder / f"{name}.json"
        task = task_of(folder, settings, ("train",), **entry)
        training.try_candidate(base, task, CONTEXT, TUNE["held_out"], path, lambda line: None)
        found.append(json.loads(path.read_text()))
    return found


@pytest.mark.parametrize(
    ("entry", "columns"),
    [
        ({}, "ab"),
        ({"data": {"group": "film"}}, ["film"]),
        ({"train_examples": 9}, "ab"),
        ({"data": {"test": "train.jsonl"}, "test_examples": 3}, "ab"),
    ],
    ids=["texts", "groups", "a sample", "one file"],
)
def test_no_held_out_group_is_trained_on_and_no_test_example_read(entry, columns, tmp_path):
    whole = task_of(tmp_path, TUNE, **entry)
    part = whole.within_training(1 / 3)
    rows = [json.loads(line) for line in (tmp_path / "train.jsonl").read_text().splitlines()]
    values = {(row["a"], row["b"]): {row[column] for column in columns} for row in rows}
    train, held_out = (list(zip(p.texts, p.seconds)) for p in (part.train, part.test))
    assert len(held_out) == round(len(whole.train.texts) / 3) and train
    assert not set.union(*map(values.get, train)) & set.union(*map(values.get, held_out))
    assert {*train, *held_out} <= {*zip(whole.train.texts, whole.train.seconds)}
    assert not {*train, *held_out} & {*zip(whole.test.texts, whole.test.seconds)}


def test_films_of_the_only_file_stay_together(tmp_path):
    rows = [
        f"{text} {i},{('bad', 'good')[i % 2]},film {i // 4}" for i, text in enumerate(TEXTS * 4)
    ]
    (tmp_path / "films.csv").write_text("\n".join(["t,l,g", *rows]) + "\n")
    data = {
        "path": str(tmp_path / "films.csv"),
        "format": "csv",
        "text": "t",
        "label": "l",
        "labels": ["bad", "good"],
    }
    entry = {"data": data | {"group": "g"}, "train_examples": 24, "test_examples": 8}
    task = make_task(
        "classification", entry | {"protocol": "finetune_then_compress"}, TaskInputs({})
    )
    part = task.within_training(0.3)
    film = {row.split(",")[0]: row.split(",")[2] for row in rows}
    train, held_out, test = (
        {film[text] for text in p.texts} for p in (part.train, part.test, task.test)
    )
    assert not train & held_out and not (train | held_out) & test and len(part.test.labels) == 7


@pytest.mark.parametrize(
    ("share", "data"), [(0.1, {}), (0.5, {"group": "y2"})], ids=["one row", "one group"]
)
def test_too_few_rows_to_hold_out_are_named(share, data, tmp_path):
    task = task_of(tmp_path, TUNE, data=data)
    if data:
        text = (tmp_path / "train.jsonl").read_text()
        (tmp_path / "train.jsonl").write_text(text.replace('"y":', '"y2": "same", "y":'))
    with pytest.raises(
        UserError,
        match="train.jsonl has 12 training rows.*`finetune.held_out`",
    ):
        task.within_training(share)


def test_candidates_never_see_held_out_rows_and_the_best_is_trained(
    base, tmp_path, monkeypatch, wordpiece
):
    seen = []
    real = training.train

    def train(model, data, *more):
        seen.append(data.rows)
        return real(model, data, *more)

    monkeypatch.setattr(training, "train", train)
    found = tried(base, tmp_path)
    whole = task_of(tmp_path, TUNE)
    part = whole.within_training(1 / 3)
    own = part.training_rows(wordpiece)
    assert len(seen) == 4 and all(rows == own for rows in seen)
    held_out = encode_examples(part.test, wordpiece, 16)
    assert not [
        row for row in held_out if row["input_ids"] in [other["input_ids"] for other in own]
    ]
    assert [candidate["settings"] for candidate in found] == list(candidates(TUNE).values())
    assert {(c["trained_on"], c["held_out"], c["metric"], c["seed"]) for c in found} == {
        (8, 4, "pearson", 0)
    }
    assert len({candidate["score"] for candidate in found}) > 1

    # The score is that of a model so trained on the held-out rows, and the best of them trains on
    # all.
    chosen = search.with_best_settings(whole.entry.job_settings(), found)
    best = max(found, key=lambda candidate: candidate["score"])
    assert chosen["finetune"] == best["settings"]
    alone = task_of(tmp_path, best["settings"]).within_training(1 / 3)
    training.finetune(base, alone, CONTEXT, tmp_path / "alone")
    model = auto_class("classifier").from_pretrained(tmp_path / "alone")
    predicted = alone.outcomes(model.eval(), wordpiece, lambda line: None)["predicted"]
    assert best["score"] == pytest.approx(
        np.corrcoef(predicted, [float(y) for y in alone.test.labels])[0, 1], abs=1e-6
    )
    training.finetune(
        base, task_of(tmp_path, chosen["finetune"]), CONTEXT, tmp_path / "tuned", found
    )
    training.finetune(base, task_of(tmp_path, best["settings"]), CONTEXT, tmp_path / "same")
    assert seen[-1] == whole.training_rows(wordpiece)
    one, two = (load_file(tmp_path / f / "model.safetensors") for f in ("tuned", "same"))
    assert all(torch.equal(one[name], two[name]) for name in one)
    assert json.loads((tmp_path / "tuned" / search.RECORD).read_text()) == {
        "chosen": best["settings"],
        "candidates": found,
    }
    assert {p.name for p in (tmp_path / "tuned").iterdir()} - {
        p.name for p in (tmp_path / "same").iterdir()
    } == {search.RECORD}


def test_an_interrupted_candidate_goes_on_and_comes_to_the_same(base, tmp_path, monkeypatch):
    settings = candidates(TUNE)["epochs_3+learning_rate_0.01"] | {"checkpoint_steps": 1}
    task = task_of(tmp_path, settings, ("train",))
    real = training.task_loss
    calls = []

    def run(name):
        training.try_candidate(
            base, task, CONTEXT, 1 / 3, tmp_path / name / "it.json", lambda line: None
        )
        return (tmp_path / name / "it.json").read_bytes()

    def killed(model, batch):
        calls.append(1)
        if len(calls) == 4:
            raise KeyboardInterrupt
        return real(model, batch)

    monkeypatch.setattr(training, "task_loss", killed)
    with pytest.raises(KeyboardInterrupt):
        run("one")
    assert not (tmp_path / "one/it.json").exists()
    resumed = run("one")
    assert len(calls) == 4 + 6 - 3  # three epochs of two batches, three of which are not repeated
    assert resumed == run("two") and [p.name for p in (tmp_path / "one").iterdir()] == ["it.json"]


def test_the_table_shows_every_candidate_and_marks_the_chosen():
    found = {
        task: [
            {
                "candidate": name,
                "seed": 0,
                "metric": metric,
                "score": score,
                "trained_on": 90,
                "held_out": 10,
            }
            for name, score in zip(candidates(GRID), scores)
        ]
        for task, metric, scores in (
            ("a", "accuracy", [0.5, 0.75, 0.75, 0.1, 0.2, 0.3]),
            ("b", "exact_match", [math.nan, *[0.4] * 5]),
        )
    }
    frame = pandas.DataFrame(search.rows(found))
    titles = {"a": "A & B, BERT", "b": "C, BERT"}
    assert frame["chosen"].tolist() == [i in (1, 7) for i in range(12)]
    text = to_text(search_table(frame, titles), 100).splitlines()
    assert "A & B, BERT: accuracy on 10 of 100 examples" in text
    chosen = "  epochs 3, learning rate 3e-05 "
    assert [line for line in text if line.endswith("*")] == [f"{chosen}75.00*", f"{chosen}40.00*"]
    assert sum(line.startswith("  epochs") for line in text) == 12
    latex = to_latex(search_table(frame, titles))
    assert (
        r"A \& B, BERT: accuracy on 10 of 100 examples" in latex and "C, BERT: exact match" in latex
    )
    chosen = [line for line in latex.splitlines() if "epochs 3, learning rate 3e-05" in line]
    assert len(chosen) == 2 and all(r"\bfseries" in line for line in chosen)
    assert "search" in TABLES
