"""All matrices of a checkpoint in one code: fitted, counted, evaluated and trained further."""

import json

import pytest
import torch
from safetensors.torch import load_file
from transformers import BertForSequenceClassification, BertModel

from embpress import storage
from embpress.data.texts import write_texts
from embpress.data.token_counts import write_counts
from embpress.fidelity.record import Infeasible, read_result
from embpress.models.calibration_file import read_calibration, write_calibration
from embpress.models.compressed_model import CompressedModel, load_other_weights, read_matrix_list
from embpress.models.embedding import OTHER_WEIGHTS, write_metadata
from embpress.models.loading import load_model
from embpress.pipeline.checkpoint_calibration import CalibrationInputs, calibrate_checkpoint
from embpress.pipeline.evaluation import evaluate
from embpress.pipeline.whole_model_compression import CodeInputs, compress_whole_model
from embpress.study.artefact import Artefact
from embpress.study.layer_kinds import EMBEDDING, OTHER
from embpress.study.method_entry import MethodEntry, resolve_variant
from embpress.study.protocols import resolve_students
from embpress.tasks import TaskInputs
from embpress.training.loop import TrainingContext
from embpress.training.students import StudentInputs, distil_on_task

from ..task_entries import make_task

PAIRS = [("the cat", "the dog"), ("a b c", "abc"), ("dogs", "cats. a dog"), ("ab", "the a")] * 4
STAGE = {"epochs": 3, "batch_size": 4, "learning_rate": 0.01}


@pytest.fixture
def folder(tmp_path, bert, wordpiece):
    """A classifier of pairs, its task's rows in two files, token counts and a corpus."""
    torch.manual_seed(3)
    for name, model in (
        ("tuned", BertForSequenceClassification(bert.config)),
        ("base", BertModel(bert.config)),
    ):
        model.save_pretrained(tmp_path / name)
        wordpiece.save_pretrained(tmp_path / name)
        write_metadata(model, wordpiece.all_special_ids, tmp_path / name, {})
    write_counts(torch.arange(1, 18), tmp_path / "counts.safetensors")
    write_texts([text for pair in PAIRS for text in pair], tmp_path / "texts.jsonl")
    for split, pairs in (("train", PAIRS), ("test", PAIRS[:4])):
        rows = [{"a": a, "b": b, "y": ["no", "yes"][i % 2]} for i, (a, b) in enumerate(pairs)]
        (tmp_path / f"{split}.jsonl").write_text("".join(json.dumps(r) + "\n" for r in rows))
    return tmp_path


def task_of(folder, *splits, student=False):
    """The task of the pairs, with the files of some splits."""
    data = {"format": "jsonl", "text": ["a", "b"], "label": "y", "labels": ["no", "yes"]}
    own = {
        "label": "x",
        "kind": "classification",
        "protocol": "finetune_then_compress",
        "max_length": 16,
        "data": data | {split: f"{split}.jsonl" for split in ("train", "test")},
        "finetune": STAGE,
    }
    if student:
        distilled = {"label": "y", "protocol": "compress_then_distil", "checkpoint": "plain"}
        tasks = {"plain": own, "student": distilled | {"distil": {"stage2": STAGE}}}
        own = resolve_students(tasks)["student"]
    files = {split: folder / f"{split}.jsonl" for split in splits}
    return make_task("classification", own, TaskInputs({}, files=files))


def settings(ratio=4, **options):
    entry = MethodEntry(method="ectcq", modules="all", options=options)
    return resolve_variant("whole", entry, (ratio,)).fit_settings(ratio)


def calibrated(inputs, path):
    """A calibration of a checkpoint, written to a file."""
    calibration = calibrate_checkpoint(inputs, 0, lambda line: None)
    write_calibration(calibration, path)
    return calibration


def tuned_inputs(folder):
    """The classifier and its calibration on training rows, which is made once."""
    file = folder / "calibration.safetensors"
    if not file.exists():
        task = task_of(folder, "train")
        calibrated(CalibrationInputs(folder / "tuned", "classifier", task), file)
    return CodeInputs(folder / "tuned", "classifier", file)


def coded(folder, ratio=3, out="coded", inputs=None, **options):
    """What is recorded of the classifier coded by its training rows."""
    inputs = inputs or tuned_inputs(folder)
    artefact = Artefact(folder / out, "whole", ratio, 0)
    result = compress_whole_model(inputs, settings(ratio, **options), artefact, lambda line: None)
    assert read_result(folder / out) == result
    return result


def predictions(folder, artefact):
    ((_, outcomes),) = evaluate(
        task_of(folder, "test"), folder / "tuned", [artefact], lambda line: None
    )
    return outcomes


def test_all_weights_are_stored_and_counted_and_the_model_is_near(folder):
    result = coded(folder)
    parameters = sum(p.numel() for p in load_model(folder / "tuned", "classifier").parameters())
    assert result.stored_bits + result.other_bits <= 32 * parameters / 3
    kinds = {record["kind"] for record in result.modules}
    assert kinds >= {EMBEDDING, "query", "key", "value", "attention_output", "output", OTHER}
    parts = read_matrix_list(folder / "coded")
    stored = sum(storage.load(folder / "coded" / part.folder).stored_bits for part in parts)
    others = load_file(folder / "coded" / OTHER_WEIGHTS)
    assert stored == result.stored_bits
    assert sum(8 * weight.nbytes for weight in others.values()) == result.other_bits
    model = load_model(folder / "tuned", "classifier")
    ids = torch.tensor([[2, 14, 11, 3]])
    dense = model(input_ids=ids).logits
    CompressedModel(model).load_matrices(folder / "coded")
    load_other_weights(model, folder / "coded")
    assert not torch.equal(model(input_ids=ids).logits, dense)
    torch.testing.assert_close(model(input_ids=ids).logits, dense, rtol=0.1, atol=0.05)
    assert len(predictions(folder, folder / "coded")["predicted"]) == 4


@pytest.mark.parametrize(
    "option",
    ["feedback", "row_steps", "column_steps", "one_level", "calibration", "measured", "trellis"],
)
def test_each_ingredient_can_be_left_out(folder, option):
    own, full = coded(folder, out=option, **{option: False}), coded(folder)
    assert own.stored_bits + own.other_bits <= 1.01 * (full.stored_bits + full.other_bits)
    assert own.modules != full.modules


def test_entquant_reads_no_texts(folder):
    inputs = CodeInputs(folder / "tuned", "classifier")
    result = coded(folder, out="entquant", inputs=inputs, entquant=True)
    assert result.modules != coded(folder, out="plain", calibration=False, feedback=False).modules


def test_gptq_stores_integers_of_one_width(folder):
    coded(folder, out="gptq", gptq=True)
    parts = read_matrix_list(folder / "gptq")
    codes = [storage.load(folder / "gptq" / part.folder) for part in parts]
    assert len({(type(code), code.width) for code in codes}) == 1
    assert len(predictions(folder, folder / "gptq")["predicted"]) == 4


def test_a_model_that_is_not_fine_tuned_is_calibrated_on_texts(folder):
    file = folder / "calibration.safetensors"
    texts = CalibrationInputs(folder / "base", "encoder", texts=folder / "texts.jsonl")
    assert calibrated(texts, file).moments
    inputs = CodeInputs(folder / "base", "encoder", file, folder / "counts.safetensors")
    result = coded(folder, inputs=inputs)
    assert "pooler.dense" in [record["name"] for record in result.modules]
    model = load_model(folder / "base", "encoder")
    CompressedModel(model, decode=True).load_matrices(folder / "coded")
    load_other_weights(model, folder / "coded")


def test_a_file_keeps_all_of_a_calibration(folder):
    tuned = CalibrationInputs(folder / "tuned", "classifier", task_of(folder, "train"))
    own = calibrated(tuned, folder / "calibration.safetensors")
    read = read_calibration(folder / "calibration.safetensors")
    assert (read.n_texts, read.n_tokens) == (own.n_texts, own.n_tokens)
    assert torch.equal(read.token_counts, own.token_counts)
    assert read.moments.keys() == own.moments.keys()
    for name, moments in own.moments.items():
        assert all(map(torch.equal, read.moments[name], moments))
    assert len(read.checks) == len(own.checks) > 0
    for batch, kept in zip(own.checks, read.checks):
        assert batch.inputs.keys() == kept.inputs.keys()
        assert all(torch.equal(batch.inputs[name], kept.inputs[name]) for name in batch.inputs)
        assert torch.equal(batch.mask, kept.mask) and torch.equal(batch.labels, kept.labels)


def test_a_ratio_out_of_reach_is_a_result(folder):
    result = coded(folder, ratio=1000)
    assert isinstance(result, Infeasible) and "lower" in result.reason or "below" in result.reason


def test_students_train_all_but_the_codes(folder):
    result = coded(folder)
    inputs = StudentInputs(folder / "tuned", folder / "coded", folder / "counts.safetensors")
    task = task_of(folder, "train", "test", student=True)
    distil_on_task(folder / "tuned", inputs, task, TrainingContext(seed=0), folder / "student")
    assert read_result(folder / "student") == result
    for part in read_matrix_list(folder / "coded"):
        before, after = (storage.load(folder / f / part.folder) for f in ("coded", "student"))
        assert torch.equal(before.dense(), after.dense())
    before, after = (load_file(folder / f / OTHER_WEIGHTS) for f in ("coded", "student"))
    assert before.keys() == after.keys()
    assert sum(w.nbytes for w in before.values()) == sum(w.nbytes for w in after.values())
    assert any(not torch.equal(before[name], after[name]) for name in before)
    assert len(predictions(folder, folder / "student")["predicted"]) == 4
