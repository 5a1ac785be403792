"""Students of a tiny model, from compressed matrices to outcomes: what training changes, what it
leaves unchanged, and what is stored.
"""

import json

import numpy as np
import pytest
import torch
from safetensors.torch import load_file, save_file
from transformers import BertForMaskedLM, BertForSequenceClassification

from embpress import storage
from embpress.errors import UserError
from embpress.fidelity.record import RESULT
from embpress.files import write_json
from embpress.methods import compress
from embpress.models.checkpoints import embedding_matrix
from embpress.models.compressed_model import StoredMatrix, write_matrix_list
from embpress.models.embedding import OTHER_WEIGHTS, write_metadata
from embpress.models.loading import load_model
from embpress.pipeline.compression import FitInputs, compress_checkpoint
from embpress.pipeline.evaluation import evaluate
from embpress.study.artefact import Artefact
from embpress.study.method_entry import MatrixSpec
from embpress.study.protocols import resolve_students
from embpress.study.task_entry import STUDENT_PROTOCOLS
from embpress.study.task_training import TextStage
from embpress.tasks import TaskInputs
from embpress.training.fine_tuning import finetune
from embpress.training.loop import HISTORY, TrainingContext
from embpress.training.students import (
    StudentInputs,
    distil_on_task,
    distil_on_text,
    finetune_student,
)

from ..second_device import HARDWARE
from ..task_entries import make_task

CONTEXT = TrainingContext(seed=0)
TERMS = ("embeddings", "attention", "hidden", "logits", "task")
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
    """A folder with a masked language model, token counts, a task's file, and the model fine-tuned
    on the task.
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
    finetune(
        tmp_path / "base", task_of(tmp_path, "finetune_then_compress"), CONTEXT, tmp_path / "tuned"
    )
    return tmp_path


def task_of(folder, protocol, **more):
    """A classification task with its entry resolved as in the workflow."""
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
    is_student = protocol in STUDENT_PROTOCOLS
    entry = resolve_students(tasks)["student"] if is_student else own
    files = {split: folder / "rows.jsonl" for split in ("train", "test")}
    return make_task(entry["kind"], entry, TaskInputs({}, files=files))


def compressed(folder, source, method="svd", ratio=2, **options):
    """An artefact of the checkpoint `source`."""
    out = folder / f"artefact-{source}-{method}-{len(options)}"
    inputs = FitInputs(folder / source, folder / "counts.safetensors")
    spec = MatrixSpec(kind="embedding", method=method, options=options)
    compress_checkpoint(inputs, spec, Artefact(out, method, ratio, 0), print)
    return out


def distilled(folder, start, out, source="tuned", **more):
    task = task_of(
        folder, "compress_then_distil", distil={"stage2": STAGE} | more.pop("distil", {}), **more
    )
    distil_on_task(folder / "tuned", inputs_of(folder, source, start), task, CONTEXT, folder / out)
    return folder / out


def inputs_of(folder, source, start):
    return StudentInputs(folder / source, start, folder / "counts.safetensors")


def bits(folder):
    return json.loads((folder / RESULT).read_text())["stored_bits"]


@pytest.mark.parametrize("terms", [["task"], ["logits", "task"]])
def test_distilled_students_have_no_dropout_whatever_the_terms(folder, terms):
    start = compressed(folder, "tuned")
    config = folder / "tuned" / "config.json"
    curves = []
    for rate in (0.0, 0.5):
        about = json.loads(config.read_text())
        about |= {"hidden_dropout_prob": rate, "attention_probs_dropout_prob": rate}
        config.write_text(json.dumps(about))
        student = distilled(folder, start, f"dropout-{rate}", distil={"terms": terms})
        curves.append(json.loads((student / HISTORY).read_text())["rows"])
    assert curves[0] == curves[1]


@pytest.mark.parametrize("dtype", ["float32", "float16", "int8", "int4"])
def test_training_changes_a_student_but_not_its_size(folder, dtype):
    start = compressed(folder, "tuned", ratio=6, factor_dtype=dtype)
    stage = STAGE | {"epochs": 12, "learning_rate": 3e-3}
    student = distilled(folder, start, "student", distil={"stage2": stage})
    before = storage.load(start)
    after = storage.load(student)
    assert bits(student) == bits(start) == after.stored_bits == before.stored_bits
    assert not torch.equal(before.dense(), after.dense())
    curve = json.loads((student / HISTORY).read_text())["rows"]
    assert set(curve[-1]) == {"step", "epoch", "loss", "learning_rate", *TERMS}
    imitation = [sum(row[term] for term in TERMS if term != "task") for row in curve]
    assert imitation[-1] < 0.8 * imitation[0]
    assert curve[-1]["loss"] == pytest.approx(sum(curve[-1][term] for term in TERMS))


def test_each_student_is_evaluated_with_its_own_weights(folder):
    start = compressed(folder, "tuned")
    one = distilled(folder, start, "one")
    two = distilled(folder, start, "two", distil={"terms": ["logits"]})
    task = task_of(folder, "finetune_then_compress")
    first_outcomes = {}
    for order in ([start, one, two], [two, start], [one]):
        model_outputs = dict(evaluate(task, folder / "tuned", order, lambda line: None))
        for path, outcomes in model_outputs.items():
            assert set(outcomes) >= {"predicted", "label"} and len(outcomes["label"]) == 4
            # An artefact that is evaluated after a student runs with the student's other weights.
            if path != start:
                expected = first_outcomes.setdefault(path, outcomes)["predicted"]
                np.testing.assert_array_equal(expected, outcomes["predicted"])


def test_frozen_factors_do_not_change_and_other_weights_are_trained(folder):
    start = compressed(folder, "tuned")
    student = distilled(folder, start, "student", factors="frozen")
    assert torch.equal(storage.load(student).dense(), storage.load(start).dense())
    tuned = load_file(folder / "tuned/model.safetensors")
    rest = load_file(student / OTHER_WEIGHTS)
    assert set(tuned) - set(rest) == {"bert.embeddings.word_embeddings.weight"}
    assert not torch.equal(rest["classifier.weight"], tuned["classifier.weight"])


def test_compress_then_finetune_trains_a_new_head_and_all_weights(folder):
    start = compressed(folder, "base", "kronecker")
    task = task_of(folder, "compress_then_finetune")
    assert task.entry.finetune.options() == STAGE
    for name in ("one", "two"):
        finetune_student(inputs_of(folder, "base", start), task, CONTEXT, folder / name)
    one, two = (load_file(folder / name / OTHER_WEIGHTS) for name in ("one", "two"))
    assert all(torch.equal(one[name], two[name]) for name in one)
    assert bits(folder / "one") == bits(start)
    assert not torch.equal(storage.load(folder / "one").dense(), storage.load(start).dense())
    ((_, outcomes),) = evaluate(task, folder / "tuned", [folder / "one"], lambda line: None)
    assert len(outcomes["predicted"]) == 4


@pytest.mark.parametrize("terms", [["embeddings", "attention", "hidden", "task"], ["hidden"]])
def test_distillation_on_text_then_on_the_task(folder, terms):
    start = compressed(folder, "base")
    stage = {"corpus": "c", "tokens": 256, "block": 8, "terms": terms} | STAGE
    task = task_of(
        folder, "compress_then_distil", distil={"stage1": stage, "stage2": STAGE, "terms": ["task"]}
    )
    inputs = inputs_of(folder, "base", start)
    settings = TextStage.model_validate(stage)
    distil_on_text(inputs, [" ".join(TEXTS)] * 12, settings, True, CONTEXT, folder / "text")
    rows = json.loads((folder / "text" / HISTORY).read_text())["rows"]
    assert rows[-1]["loss"] < rows[0]["loss"]
    assert set(rows[0]) & set(TERMS) == (set(terms) if len(terms) > 1 else set())
    text_student = inputs_of(folder, "base", folder / "text")
    distil_on_task(folder / "tuned", text_student, task, CONTEXT, folder / "student")
    assert bits(folder / "student") == bits(start)
    # With no step taken, the student has the encoder of the first stage and the head of the
    # teacher.
    still = {"stage2": STAGE | {"learning_rate": 1e-30}, "stage1": stage, "terms": ["task"]}
    task = task_of(folder, "compress_then_distil", distil=still)
    distil_on_task(folder / "tuned", text_student, task, CONTEXT, folder / "still")
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


def test_distillation_on_text_refuses_a_missing_head_and_long_blocks(folder, bert, wordpiece):
    bert.save_pretrained(folder / "headless")
    wordpiece.save_pretrained(folder / "headless")
    write_metadata(bert, wordpiece.all_special_ids, folder / "headless", {})
    start = compressed(folder, "headless")
    inputs = inputs_of(folder, "headless", start)

    def distil(terms, block):
        stage = TextStage(corpus="c", terms=terms, tokens=256, block=block, **STAGE)
        distil_on_text(inputs, TEXTS, stage, True, CONTEXT, folder / "out")

    with pytest.raises(UserError, match="headless has no head.*`task`.*distil.stage1.terms"):
        distil(("task",), 8)
    with pytest.raises(UserError, match="distil.stage1.block.*1000.*headless.*512"):
        distil(("hidden",), 1000)


def test_an_infeasible_ratio_is_propagated_to_the_student(folder):
    start = compressed(folder, "tuned", "integer", ratio=100, bits=8)
    student = distilled(folder, start, "student")
    assert [path.name for path in student.iterdir()] == [RESULT]
    assert "reaches at most" in json.loads((student / RESULT).read_text())["infeasible"]


def test_recorded_errors_are_of_the_trained_matrix(folder):
    start = compressed(folder, "tuned")
    student = distilled(folder, start, "student")
    metrics = json.loads((student / RESULT).read_text())["reconstruction"]
    dense = embedding_matrix(folder / "tuned")
    error = (storage.load(student).dense() - dense).norm() / dense.norm()
    assert metrics["relative_error"] == pytest.approx(error.item(), rel=1e-4)


def test_a_student_of_another_model_is_refused(folder):
    start = compressed(folder, "tuned")
    student = distilled(folder, start, "student")
    task = task_of(folder, "finetune_then_compress")
    rest = load_file(student / OTHER_WEIGHTS)
    for wrong, message in (
        ({"classifier.weight": torch.zeros(5, 16)}, f"{student}.*size.*train"),
        ({"other.weight": torch.zeros(1)}, f"{student}.*other.weight.*train"),
    ):
        save_file(rest | wrong, student / OTHER_WEIGHTS)
        with pytest.raises(UserError, match=message):
            list(evaluate(task, folder / "tuned", [student], lambda line: None))
    assert load_model(folder / "tuned", "classifier").config.num_labels == 2


def test_compressed_layers_are_trained_together_with_the_embedding(folder):
    """The artefact holds the embedding, and a layer's query and key projections as one matrix."""
    start = folder / "whole"
    model = load_model(folder / "tuned", "encoder")
    places = tuple(f"encoder.layer.0.attention.self.{name}" for name in ("query", "key"))
    parts = [StoredMatrix("embedding", "embedding"), StoredMatrix("query", "query", places)]
    stacked = torch.cat([model.get_submodule(place).weight.detach() for place in places])
    matrices = (embedding_matrix(folder / "tuned"), stacked)
    records = []
    for part, matrix in zip(parts, matrices):
        fitted = compress(matrix, "svd", 2)
        storage.save(fitted, start / part.folder)
        error = float((fitted.dense() - matrix).square().sum())
        records.append({"name": part.folder, "squared_error": error})
    write_matrix_list(parts, start)
    write_json(start / RESULT, {"stored_bits": 1, "modules": records})
    student = distilled(folder, start, "student")
    records = json.loads((student / RESULT).read_text())["modules"]
    for part, matrix, record in zip(parts, matrices, records):
        before, after = (storage.load(one / part.folder) for one in (start, student))
        assert after.stored_bits == before.stored_bits
        assert not torch.equal(before.dense(), after.dense())
        error = float((after.dense() - matrix).square().sum())
        assert record["squared_error"] == pytest.approx(error, rel=1e-4)
    uncompressed = {
        name
        for name in load_file(student / OTHER_WEIGHTS)
        if "attention.self" in name and name.endswith("weight")
    }
    assert uncompressed == {"bert.encoder.layer.0.attention.self.value.weight"}
    ((_, outcomes),) = evaluate(
        task_of(folder, "x"), folder / "tuned", [student], lambda line: None
    )
    assert len(outcomes["predicted"]) == 4


def trained_on(device, folder, out):
    """Weights of a fine-tuned model, of a student of text and then of its task, by name."""
    context = TrainingContext(seed=0, device=device)
    out.mkdir()
    finetune(
        folder / "base", task_of(folder, "finetune_then_compress"), context, out / "fine_tuned"
    )
    inputs = inputs_of(folder, "base", compressed(folder, "base"))
    stage = TextStage(corpus="c", tokens=256, block=8, **STAGE)
    distil_on_text(inputs, [" ".join(TEXTS)] * 12, stage, True, context, out / "of_text")
    task = task_of(folder, "compress_then_distil", distil={"stage2": STAGE})
    inputs = inputs_of(folder, "base", out / "of_text")
    distil_on_task(folder / "tuned", inputs, task, context, out / "of_task")
    files = {path.relative_to(out): load_file(path) for path in sorted(out.rglob("*.safetensors"))}
    return {f"{path}/{name}": t for path, of in files.items() for name, t in of.items()}


def test_training_on_another_device_gives_the_same_weights(folder, second):
    here = trained_on(torch.device("cpu"), folder, folder / "here")
    there = trained_on(second, folder, folder / "there")
    assert any("fine_tuned" in name for name in here) and any("of_task" in name for name in here)
    # On hardware, Adam turns the sign of a gradient's rounding error into a whole step.
    torch.testing.assert_close(there, here, rtol=1e-2, atol=5e-2 if HARDWARE else 1e-4)


def test_a_teacher_that_stays_on_the_cpu_is_found(folder, imitated, monkeypatch):
    monkeypatch.setattr(BertForSequenceClassification, "to", lambda model, *where, **more: model)
    task = task_of(folder, "compress_then_distil", distil={"stage2": STAGE})
    inputs = inputs_of(folder, "tuned", compressed(folder, "tuned"))
    with pytest.raises(RuntimeError, match="on the same device"):
        distil_on_task(
            *(folder / "tuned", inputs, task, TrainingContext(0, imitated), folder / "student")
        )
