"""Students from compressed matrices to outcomes, on a tiny model.

What is trained, what stays, what is stored.
"""

import json

import numpy as np
import pytest
import torch
from safetensors.torch import load_file, save_file
from transformers import BertForMaskedLM

from embpress import storage
from embpress.errors import UserError
from embpress.fidelity.record import RESULT
from embpress.files import write_json
from embpress.methods import compress
from embpress.models.checkpoints import embedding_matrix
from embpress.models.compressed_model import StoredMatrix, write_matrix_list
from embpress.models.embedding import OTHER_WEIGHTS, load_model, write_metadata
from embpress.pipeline.compression import compress_checkpoint
from embpress.pipeline.evaluation import evaluate
from embpress.study import protocols
from embpress.tasks import Inputs, task_class
from embpress.training.fine_tuning import finetune
from embpress.training.loop import HISTORY
from embpress.training.students import distil_on_task, distil_on_text, finetune_student

TEXTS = [
    "the cat, the dog",
    "a b c",
    "dogs",
    "cats. a dog",
    "abc",
    "the dogs",
    "a cat",
    "b. c",
    "ab",
    "the a",
]
STAGE = {"epochs": 3, "batch_size": 4, "learning_rate": 0.01}


@pytest.fixture
def folder(tmp_path, bert, wordpiece):
    """A checkpoint with a head for masked tokens, counts.

    And a task's files and fine-tuned model.
    """
    torch.manual_seed(3)
    model = BertForMaskedLM(bert.config)
    for name in ("base", "tuned"):
        model.save_pretrained(tmp_path / name)
        wordpiece.save_pretrained(tmp_path / name)
        write_metadata(model, wordpiece.all_special_ids, tmp_path / name, {})
    save_file({"counts": torch.arange(1, 18)}, tmp_path / "counts.safetensors")
    lines = [json.dumps({"text": t, "label": "ab"[i % 2]}) + "\n" for i, t in enumerate(TEXTS)]
    (tmp_path / "rows.jsonl").write_text("".join(lines))
    finetune(tmp_path / "base", task_of(tmp_path, "finetune_then_compress"), 0, tmp_path / "tuned")
    return tmp_path


def task_of(folder, protocol, **more):
    """A classification task, its entry spelled out as the workflow does."""
    own = {
        "label": "x",
        "kind": "classification",
        "protocol": "finetune_then_compress",
        "max_length": 16,
        "data": {"format": "jsonl", "text": "text", "label": "label", "labels": ["a", "b"]}
        | {split: str(folder / "rows.jsonl") for split in ("train", "test")},
        "finetune": STAGE,
        "test_examples": 4,
    }
    tasks = {
        "plain": own,
        "student": {"label": "y", "protocol": protocol, "checkpoint": "plain"} | more,
    }
    entry = protocols.resolve(tasks)["student"] if protocol in protocols.STUDENTS else own
    files = {split: folder / "rows.jsonl" for split in ("train", "test")}
    return task_class(entry["kind"])(entry, Inputs({}, files=files))


def compressed(folder, source, method="svd", ratio=2, **options):
    """An artefact of a checkpoint."""
    out = folder / f"artefact-{source}-{method}-{len(options)}"
    compress_checkpoint(
        folder / source, folder / "counts.safetensors", method, options, ratio, 0, out, print
    )
    return out


def distilled(folder, start, out, source="tuned", **more):
    task = task_of(
        folder, "compress_then_distil", distil={"stage2": STAGE} | more.pop("distil", {}), **more
    )
    distil_on_task(
        folder / "tuned",
        start,
        folder / source,
        folder / "counts.safetensors",
        task,
        0,
        folder / out,
    )
    return folder / out


def bits(folder):
    return json.loads((folder / RESULT).read_text())["stored_bits"]


@pytest.mark.parametrize("dtype", ["float32", "float16", "int8"])
def test_a_student_is_trained_and_as_large_as_what_it_started_from(folder, dtype):
    start = compressed(folder, "tuned", ratio=6, factor_dtype=dtype)
    stage = STAGE | {"epochs": 12, "learning_rate": 3e-3}
    student = distilled(folder, start, "student", distil={"stage2": stage})
    before = storage.load(start)
    after = storage.load(student)
    assert bits(student) == bits(start) == after.stored_bits == before.stored_bits
    assert not torch.equal(before.dense(), after.dense())
    curve = json.loads((student / HISTORY).read_text())["rows"]
    assert set(curve[-1]) == {"step", "epoch", "loss", "learning_rate", *protocols.TERMS}
    imitation = [sum(row[term] for term in protocols.TERMS if term != "task") for row in curve]
    assert imitation[-1] < 0.8 * imitation[0]
    assert curve[-1]["loss"] == pytest.approx(sum(curve[-1][term] for term in protocols.TERMS))


def test_students_are_evaluated_like_artefacts_each_with_its_own_weights(folder):
    start = compressed(folder, "tuned")
    one = distilled(folder, start, "one")
    two = distilled(folder, start, "two", distil={"terms": ["logits"]})
    task = task_of(folder, "finetune_then_compress")
    found = {}
    for order in ([start, one, two], [two, start], [one]):
        model_outputs = dict(evaluate(task, folder / "tuned", order, lambda line: None))
        for path, outcomes in model_outputs.items():
            assert set(outcomes) == {"predicted", "label"} and len(outcomes["label"]) == 4
            if (
                path != start
            ):  # after a student, the offline artefact would run on the student's other weights
                np.testing.assert_array_equal(
                    found.setdefault(path, outcomes)["predicted"], outcomes["predicted"]
                )


def test_frozen_factors_stay_and_the_rest_is_trained(folder):
    start = compressed(folder, "tuned")
    student = distilled(folder, start, "student", factors="frozen")
    assert torch.equal(storage.load(student).dense(), storage.load(start).dense())
    tuned = load_file(folder / "tuned/model.safetensors")
    rest = load_file(student / OTHER_WEIGHTS)
    assert set(tuned) - set(rest) == {"bert.embeddings.word_embeddings.weight"}
    assert not torch.equal(rest["classifier.weight"], tuned["classifier.weight"])


def test_compressed_first_the_head_is_new_and_all_is_fine_tuned(folder):
    start = compressed(folder, "base", "kronecker")
    task = task_of(folder, "compress_then_finetune")
    assert task.config["finetune"] == STAGE
    for name in ("one", "two"):
        finetune_student(
            folder / "base", start, folder / "counts.safetensors", task, 0, folder / name
        )
    one, two = (load_file(folder / name / OTHER_WEIGHTS) for name in ("one", "two"))
    assert all(torch.equal(one[name], two[name]) for name in one)
    assert bits(folder / "one") == bits(start)
    assert not torch.equal(storage.load(folder / "one").dense(), storage.load(start).dense())
    ((_, outcomes),) = evaluate(task, folder / "tuned", [folder / "one"], lambda line: None)
    assert len(outcomes["predicted"]) == 4


@pytest.mark.parametrize("terms", [["embeddings", "attention", "hidden", "task"], ["hidden"]])
def test_first_on_text_then_on_the_task(folder, terms):
    start = compressed(folder, "base")
    stage = {"corpus": "c", "tokens": 64, "block": 8, "terms": terms} | STAGE
    task = task_of(
        folder, "compress_then_distil", distil={"stage1": stage, "stage2": STAGE, "terms": ["task"]}
    )
    counts = folder / "counts.safetensors"
    distil_on_text(
        folder / "base", start, counts, [" ".join(TEXTS)] * 3, task.config, 0, folder / "text"
    )
    rows = json.loads((folder / "text" / HISTORY).read_text())["rows"]
    assert rows[-1]["loss"] < rows[0]["loss"]
    assert set(rows[0]) & set(protocols.TERMS) == (set(terms) if len(terms) > 1 else set())
    distil_on_task(
        folder / "tuned", folder / "text", folder / "base", counts, task, 0, folder / "student"
    )
    assert bits(folder / "student") == bits(start)
    # With no step taken, the student has the encoder of the first stage and the head of the
    # teacher.
    still = task.config["distil"]["stage2"] | {"learning_rate": 1e-30}
    task.config["distil"]["stage2"] = still
    distil_on_task(
        folder / "tuned", folder / "text", folder / "base", counts, task, 0, folder / "still"
    )
    text, at_start, tuned = (
        load_file(path)
        for path in (
            folder / "text" / OTHER_WEIGHTS,
            folder / "still" / OTHER_WEIGHTS,
            folder / "tuned/model.safetensors",
        )
    )
    encoder = "encoder.layer.0.output.dense.weight"
    assert torch.equal(at_start["bert." + encoder], text[encoder])
    assert torch.equal(at_start["classifier.weight"], tuned["classifier.weight"])
    assert not torch.equal(text[encoder], tuned["bert." + encoder])


def test_masked_tokens_need_a_head_for_them(folder, bert, wordpiece):
    bert.save_pretrained(folder / "headless")
    wordpiece.save_pretrained(folder / "headless")
    write_metadata(bert, wordpiece.all_special_ids, folder / "headless", {})
    start = compressed(folder, "headless")
    entry = {
        "factors": "trained",
        "distil": {"stage1": {"corpus": "c", "tokens": 64, "block": 8, "terms": ["task"]} | STAGE},
    }
    arguments = (
        folder / "headless",
        start,
        folder / "counts.safetensors",
        TEXTS,
        entry,
        0,
        folder / "out",
    )
    with pytest.raises(
        UserError, match="headless has no head that predicts masked tokens: leave `task` out"
    ):
        distil_on_text(*arguments)
    entry["distil"]["stage1"] |= {"terms": ["hidden"], "block": 1000}
    with pytest.raises(
        UserError, match="distil.stage1.block is 1000, but .*headless reads at most 512 tokens"
    ):
        distil_on_text(*arguments)


def test_a_ratio_out_of_reach_stays_out_of_reach(folder):
    start = compressed(folder, "tuned", "integer", ratio=100, bits=8)
    student = distilled(folder, start, "student")
    assert [path.name for path in student.iterdir()] == [RESULT]
    assert "reaches at most" in json.loads((student / RESULT).read_text())["infeasible"]


def test_errors_are_those_of_the_trained_matrix(folder):
    start = compressed(folder, "tuned")
    student = distilled(folder, start, "student")
    near = json.loads((student / RESULT).read_text())["reconstruction"]
    dense = embedding_matrix(folder / "tuned")
    error = (storage.load(student).dense() - dense).norm() / dense.norm()
    assert near["relative_error"] == pytest.approx(error.item(), rel=1e-4)


def test_a_student_of_another_model_is_refused(folder):
    start = compressed(folder, "tuned")
    student = distilled(folder, start, "student")
    rest = load_file(student / OTHER_WEIGHTS)
    for wrong, message in (
        ({"classifier.weight": torch.zeros(5, 16)}, "of another size"),
        ({"other.weight": torch.zeros(1)}, "another model.* other.weight"),
    ):
        save_file(rest | wrong, student / OTHER_WEIGHTS)
        with pytest.raises(UserError, match=message):
            list(
                evaluate(
                    task_of(folder, "finetune_then_compress"),
                    folder / "tuned",
                    [student],
                    lambda line: None,
                )
            )
    assert load_model(folder / "tuned", "classifier").config.num_labels == 2


def test_matrices_of_layers_are_trained_with_the_embedding(folder):
    """An artefact of the embedding and of a layer's queries and keys, stacked in one matrix."""
    start = folder / "whole"
    model = load_model(folder / "tuned", "encoder")
    places = tuple(f"encoder.layer.0.attention.self.{name}" for name in ("query", "key"))
    parts = [StoredMatrix("embedding", "embedding"), StoredMatrix("query", "query", places)]
    stacked = torch.cat([model.get_submodule(place).weight.detach() for place in places])
    abouts = []
    for part, matrix in zip(parts, (embedding_matrix(folder / "tuned"), stacked)):
        fitted = compress(matrix, "svd", 2)
        storage.save(fitted, start / part.folder)
        abouts.append(
            {"name": part.folder, "squared_error": float((fitted.dense() - matrix).square().sum())}
        )
    write_matrix_list(parts, start)
    write_json(start / RESULT, {"stored_bits": 1, "modules": abouts})
    student = distilled(folder, start, "student")
    for part, matrix, about in zip(
        parts,
        (embedding_matrix(folder / "tuned"), stacked),
        json.loads((student / RESULT).read_text())["modules"],
    ):
        before, after = (storage.load(one / part.folder) for one in (start, student))
        assert after.stored_bits == before.stored_bits and not torch.equal(
            before.dense(), after.dense()
        )
        assert about["squared_error"] == pytest.approx(
            float((after.dense() - matrix).square().sum()), rel=1e-4
        )
    left = {
        name
        for name in load_file(student / OTHER_WEIGHTS)
        if "attention.self" in name and name.endswith("weight")
    }
    assert left == {"bert.encoder.layer.0.attention.self.value.weight"}
    ((_, outcomes),) = evaluate(
        task_of(folder, "x"), folder / "tuned", [student], lambda line: None
    )
    assert len(outcomes["predicted"]) == 4
