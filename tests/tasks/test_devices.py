"""Every kind of task on the second device, and in types of lower precision."""

import numpy as np
import pytest
import torch
from safetensors.torch import save_file

from embpress.pipeline.compression import FitInputs, compress_checkpoint
from embpress.pipeline.evaluation import Runtime, evaluate
from embpress.study.artefact import Artefact
from embpress.study.method_entry import MatrixSpec
from embpress.tasks import kinds

from ..conftest import PIECES
from .test_contract import LABELLED, batch_of, make, tiny_model


@pytest.mark.parametrize("kind", kinds())
def test_outcomes_are_those_of_the_cpu(kind, tokenizer, tmp_path, second):
    task = make(kind, tmp_path)
    here = task.outcomes(tiny_model(task, 0), tokenizer, print)
    there = task.outcomes(tiny_model(task, 0).to(second), tokenizer, print)
    assert here.keys() == there.keys()
    for name, values in here.items():
        assert there[name].dtype == values.dtype
        np.testing.assert_allclose(there[name], values, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("kind", kinds())
def test_a_batch_that_is_not_moved_is_found(kind, tokenizer, tmp_path, imitated, monkeypatch):
    task = make(kind, tmp_path)
    model = tiny_model(task, 0).to(imitated)
    move = torch.Tensor.to
    monkeypatch.setattr(
        torch.Tensor,
        "to",
        lambda tensor, *args, **more: (
            tensor if args == (imitated,) else move(tensor, *args, **more)
        ),
    )
    with pytest.raises(RuntimeError, match="on the same device"):
        task.outcomes(model, tokenizer, print)


@pytest.mark.parametrize("kind", LABELLED)
def test_losses_of_training_and_distillation_are_those_of_the_cpu(
    kind,
    tokenizer,
    tmp_path,
    second,
):
    task = make(kind, tmp_path)
    batch = batch_of(task, tokenizer)
    values = []
    for device in (torch.device("cpu"), second):
        student, teacher = (tiny_model(task, seed).to(device) for seed in (0, 1))
        on_device = {name: tensor.to(device) for name, tensor in batch.items()}
        output = student(**on_device)
        with torch.no_grad():
            target = teacher(**on_device)
        loss = output.loss + task.logits_loss(output, target, on_device)
        loss.backward()
        assert loss.device == device
        values.append(loss.detach().cpu())
    torch.testing.assert_close(*values)


@pytest.mark.parametrize("precision", ["float32", "bfloat16", "float16"])
@pytest.mark.parametrize("kind", kinds())
def test_a_checkpoint_is_evaluated_in_each_precision(
    kind,
    precision,
    tokenizer,
    tmp_path,
    second,
):
    task = make(kind, tmp_path)
    folder = tmp_path / "checkpoint"
    artefact = _compress(tiny_model(task, 0), tokenizer, folder)
    wanted = dict(evaluate(task, folder, [artefact], print))[artefact]
    results = [
        dict(evaluate(task, folder, [artefact], print, Runtime(device, precision)))[artefact]
        for device in (torch.device("cpu"), second)
    ]
    for name, values in wanted.items():
        assert all(result[name].dtype == values.dtype for result in results)
        assert all(np.isfinite(result[name]).all() for result in results)
        if precision == "float32":
            np.testing.assert_allclose(results[1][name], values, rtol=1e-4, atol=1e-5)


def _compress(model, tokenizer, folder):
    """Write a checkpoint and its compressed embedding; returns the artefact's folder."""
    from embpress.models.embedding import write_metadata

    model.save_pretrained(folder)
    tokenizer.save_pretrained(folder)
    write_metadata(model, tokenizer.all_special_ids, folder, {})
    save_file({"counts": torch.arange(1, len(PIECES) + 1)}, folder / "counts.safetensors")
    artefact = Artefact.below(folder / "svd", "svd", 2, 0)
    spec = MatrixSpec(kind="embedding", method="svd")
    compress_checkpoint(FitInputs(folder, folder / "counts.safetensors"), spec, artefact, print)
    return artefact.folder
