"""Tasks of each kind on tables of one's own, which only a config entry describes: read, fine-tuned,
saved, and evaluated with a compressed matrix.
"""

import csv
import json

import numpy as np
import pytest
import torch
from safetensors.torch import load_file

from embpress import storage
from embpress.methods import compress
from embpress.models.checkpoints import embedding_matrix
from embpress.models.loading import load_model
from embpress.pipeline.evaluation import evaluate
from embpress.tasks import TaskInputs
from embpress.tasks._encoding import encode_examples
from embpress.training.fine_tuning import finetune
from embpress.training.loop import TrainingContext

from ..task_entries import files_of, make_task

CONTEXT = TrainingContext(seed=0)
WORDS = ["cat", "dog", "the cats", "a dog", "a, b", "c.", "the cat, the dog", "dogs", "abc", "cats"]
ENTRY = {"label": "x", "protocol": "finetune_then_compress", "max_length": 16}
FINETUNE = {"epochs": 2, "batch_size": 4, "learning_rate": 1e-3}


def table(path, columns, rows):
    """Write a file in the format of its suffix."""
    with path.open("w", encoding="utf-8", newline="") as file:
        if path.suffix == ".jsonl":
            file.writelines(json.dumps(dict(zip(columns, row))) + "\n" for row in rows)
        else:
            csv.writer(file, delimiter="\t" if path.suffix == ".tsv" else ",").writerows(
                [columns, *rows]
            )
    return str(path)


def entry_of(kind, folder):
    """A config entry with a file of its own."""
    n = len(WORDS)
    if kind == "classification":
        path = table(
            folder / "own.csv",
            ["text", "mood"],
            [(w, ("bad", "good", "so-so")[i % 3]) for i, w in enumerate(WORDS)],
        )
        data = {
            "format": "csv",
            "text": "text",
            "label": "mood",
            "labels": ["bad", "good", "so-so"],
        }
    elif kind == "pairs":
        path = table(
            folder / "own.tsv",
            ["a", "b", "same"],
            [(w, WORDS[-i], i % 2) for i, w in enumerate(WORDS)],
        )
        data = {
            "format": "tsv",
            "text": ["a", "b"],
            "label": "same",
            "labels": {"no": "0", "yes": "1"},
        }
    elif kind == "regression":
        path = table(
            folder / "own.jsonl",
            ["a", "b", "score"],
            [(w, WORDS[-i], i / 2) for i, w in enumerate(WORDS)],
        )
        data = {"format": "jsonl", "text": ["a", "b"], "label": "score"}
    else:
        rows = [(w, WORDS[i - 1], WORDS[i - 2], "AB"[i % 2]) for i, w in enumerate(WORDS)]
        path = table(folder / "own.csv", ["q", "A", "B", "answer"], rows)
        data = {
            "format": "csv",
            "text": "q",
            "choices": ["A", "B"],
            "label": "answer",
            "labels": ["A", "B"],
        }
    kind = "classification" if kind == "pairs" else kind
    return ENTRY | {
        "kind": kind,
        "data": data | {"train": path, "test": path},
        "test_examples": n // 3,
        "finetune": FINETUNE,
    }


def task_of(entry):
    return make_task(
        entry["kind"],
        entry,
        TaskInputs({}, files=files_of(entry)),
    )


@pytest.mark.parametrize(
    ("kind", "labels", "metrics"),
    [
        ("classification", 3, {"accuracy", "f1", "matthews"}),
        ("pairs", 2, {"accuracy", "f1", "matthews"}),
        ("regression", 1, {"pearson", "spearman"}),
        ("multiple_choice", 1, {"accuracy"}),
    ],
)
def test_own_tables_are_fine_tuned_and_scored(kind, labels, metrics, base, tmp_path):
    task = task_of(entry_of(kind, tmp_path))
    torch.manual_seed(1)
    finetune(base, task, CONTEXT, tmp_path / "tuned")
    head = load_file(tmp_path / "tuned/model.safetensors")["classifier.weight"]
    assert head.shape == (labels, 16)
    assert not torch.equal(embedding_matrix(tmp_path / "tuned"), embedding_matrix(base))
    identity = compress(embedding_matrix(tmp_path / "tuned"), "identity", ratio=1)
    storage.save(identity, tmp_path / "same")
    ((_, outcomes),) = evaluate(task, tmp_path / "tuned", [tmp_path / "same"], lambda line: None)
    assert (
        {len(values) for values in outcomes.values()}
        == {3}
        == set(task.n_resampling_units(outcomes).values())
    )
    assert np.isfinite(outcomes["predicted"]).all()
    scores = task.scores(outcomes, {"example": np.arange(3)[None]})
    assert scores.keys() == metrics == {m.name for m in task.metrics if m.of_itself is None}


def test_choices_are_predicted_as_in_one_batch_of_all_choices(base, wordpiece, tmp_path):
    """Apart from padding, inputs are those of a batch of all choices by the tokenizer's `pad`."""
    task = task_of(entry_of("multiple_choice", tmp_path))
    finetune(base, task, CONTEXT, tmp_path / "tuned")
    model = load_model(tmp_path / "tuned", "multiple_choice")
    together = []
    for row in encode_examples(task.test, wordpiece, 16):
        batch = wordpiece.pad({k: row[k] for k in row if k != "labels"}, return_tensors="pt")
        with torch.inference_mode():
            together.append(
                model(**{k: v[None] for k, v in batch.items()}).logits[0].argmax().item()
            )
    assert task.outcomes(model, wordpiece, lambda line: None)["predicted"].tolist() == together


def test_the_same_seed_trains_the_same_weights(base, tmp_path):
    for folder in ("one", "two"):
        finetune(base, task_of(entry_of("regression", tmp_path)), CONTEXT, tmp_path / folder)
    one, two = (load_file(tmp_path / f / "model.safetensors") for f in ("one", "two"))
    assert all(torch.equal(one[name], two[name]) for name in one)


def test_zero_shot_regression_of_pairs_predicts_cosines(base, wordpiece, tmp_path):
    entry = entry_of("regression", tmp_path) | {"protocol": "zero_shot", "prefix": "the "}
    entry = {k: v for k, v in entry.items() if k not in ("finetune", "test_examples")}
    task = task_of(entry)
    assert task.head == "encoder"
    model = load_model(base, "encoder")
    predicted = task.outcomes(model, wordpiece, lambda line: None)["predicted"]
    assert predicted[5] == pytest.approx(1, abs=1e-6)  # a text and itself
    vectors = []
    for text in (task.test.texts[1], task.test.seconds[1]):
        with torch.inference_mode():
            vectors.append(
                model(**wordpiece("the " + text, return_tensors="pt")).last_hidden_state[0].mean(0)
            )
    cosine = torch.cosine_similarity(*vectors, dim=0).item()
    assert predicted[1] == pytest.approx(cosine, abs=1e-5)
