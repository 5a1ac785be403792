"""The training loop: learning curve, early stopping, and runs that are interrupted."""

import os
import shutil
import signal
import subprocess
import sys
import time

import pytest
import torch
from torch import nn

from embpress.study.task_training import Training
from embpress.training.batches import TrainingData
from embpress.training.loop import TrainingContext, train

CONTEXT = TrainingContext(seed=0)


def replace(settings, **changes):
    """Settings with some of them changed."""
    return settings.model_copy(update=changes)


SHORT = Training(epochs=2, batch_size=4, learning_rate=0.05)
LONG = SHORT.model_copy(update=dict(epochs=6))


class Line(nn.Module):
    """y = w dropout(x) + b, to fit `rows`."""

    def __init__(self, dropout=0.0):
        super().__init__()
        self.linear = nn.Linear(1, 1)
        self.dropout = nn.Dropout(dropout)
        with torch.no_grad():
            self.linear.weight.fill_(0.5)
            self.linear.bias.zero_()

    def forward(self, x):
        return self.linear(self.dropout(x))


def rows(n=30):
    return [{"input_ids": [1] * (1 + i % 3), "x": i / n, "y": 3 * i / n - 1} for i in range(n)]


def collate(chosen):
    return {name: torch.tensor([[row[name]] for row in chosen]) for name in ("x", "y")}


DATA = TrainingData(rows(), collate)


def squared(model, batch):
    return {"task": (model(batch["x"]) - batch["y"]).square().mean()}


def weights(model):
    return torch.cat([p.detach().flatten() for p in model.parameters()])


def test_the_curve_records_loss_and_learning_rate(tmp_path):
    model = Line()
    settings = LONG.model_copy(update=dict(learning_rate=0.2))
    curve = train(model, DATA, squared, settings, CONTEXT, tmp_path / "scratch")
    steps = 6 * 8
    assert curve[-1]["step"] == steps and curve[-1]["epoch"] == 6
    assert curve[-1]["loss"] < 0.2 * curve[0]["loss"]
    rates = {row["step"]: row["learning_rate"] for row in curve}
    # Of the next step: full after a tenth of the steps, then a linear decrease to 0.
    assert max(rates.values()) == pytest.approx(0.2) and rates[steps] == 0
    assert rates[1] == pytest.approx(0.2 / 5) and rates[26] == pytest.approx(0.2 * (48 - 26) / 43)
    assert not (tmp_path / "scratch").exists()


def test_dropout_and_order_depend_on_the_seed(tmp_path):
    trained = []
    for seed in (0, 0, 1):
        model = Line(dropout=0.5)
        train(model.train(), DATA, squared, LONG, TrainingContext(seed), tmp_path)
        trained.append(weights(model))
    assert torch.equal(trained[0], trained[1]) and not torch.equal(trained[0], trained[2])


def test_accumulated_batches_equal_one_large_batch(tmp_path):
    trained = []
    for size, accumulation in ((8, 1), (2, 4)):
        model = Line()
        seen = []

        def loss(model, batch, seen=seen):
            seen.append(len(batch["x"]))
            return squared(model, batch)

        settings = SHORT.model_copy(
            update=dict(epochs=1, batch_size=size, accumulation=accumulation)
        )
        same_length = [row | {"input_ids": [1]} for row in rows(8)]
        curve = train(model, TrainingData(same_length, collate), loss, settings, CONTEXT, tmp_path)
        assert len(curve) == 1 and sum(seen) == 8 and len(seen) == accumulation
        trained.append(weights(model))
    torch.testing.assert_close(trained[0], trained[1])


def test_bf16_computes_in_bfloat16_and_keeps_float32_weights(tmp_path):
    trained = []
    for precision in ("fp32", "bf16"):
        model = Line()
        types = []

        def loss(model, batch, types=types):
            out = model(batch["x"])
            types.append(out.dtype)
            return {"task": (out.float() - batch["y"]).square().mean()}

        train(
            model, DATA, loss, SHORT.model_copy(update=dict(precision=precision)), CONTEXT, tmp_path
        )
        assert types[0] == (torch.bfloat16 if precision == "bf16" else torch.float32)
        assert model.linear.weight.dtype == torch.float32
        trained.append(weights(model))
    torch.testing.assert_close(trained[0], trained[1], rtol=0.1, atol=0.1)


def test_weight_decay_applies_to_matrices_but_not_to_biases(tmp_path):
    model = Line()
    with torch.no_grad():
        model.linear.bias.fill_(1)

    def nothing(model, batch):
        return {"task": 0 * model(batch["x"]).sum()}

    train(model, DATA, nothing, SHORT.model_copy(update=dict(weight_decay=1.0)), CONTEXT, tmp_path)
    assert model.linear.weight.item() < 0.4 and model.linear.bias.item() == 1


def test_early_stopping_keeps_the_weights_of_the_best_epoch(tmp_path):
    seen = set()

    def watched(chosen):
        seen.update(row["x"] for row in chosen if model.training)
        return collate(chosen)

    model = Line().train()
    settings = SHORT.model_copy(update=dict(epochs=40, learning_rate=2.0, warmup=0.0, patience=2))
    curve = train(model, TrainingData(rows(), watched), squared, settings, CONTEXT, tmp_path)
    validated = [row for row in curve if "held_out_loss" in row]
    assert len(seen) == 27 and model.training
    assert len(validated) < 40 and validated[-1]["epoch"] == len(validated)
    losses = [row["held_out_loss"] for row in validated]
    # Training stops after two epochs without a lower loss.
    assert losses.index(min(losses)) == len(losses) - 3
    held_out = [row for row in rows() if row["x"] not in seen]
    assert squared(model, collate(held_out))["task"].item() == pytest.approx(min(losses), rel=1e-4)


def with_checkpoints(scratch, pause=0.0, steps=None):
    """Train with dropout, early stopping and checkpoints; returns weights and curve."""

    def loss(model, batch):
        time.sleep(pause)
        if steps is not None and model.training:
            steps.append(1)
        return squared(model, batch)

    model = Line(dropout=0.3).train()
    settings = LONG.model_copy(update=dict(patience=5, checkpoint_steps=5))
    curve = train(model, DATA, loss, settings, CONTEXT, scratch)
    return weights(model), curve


def test_a_killed_run_resumes_and_ends_with_identical_weights(tmp_path):
    steps = []
    again = []
    whole, curve = with_checkpoints(tmp_path / "whole", steps=steps)
    code = f"""
import runpy, torch
from pathlib import Path
torch.set_num_threads(1)
runpy.run_path({__file__!r})["with_checkpoints"](Path({str(tmp_path / "broken")!r}), pause=0.05)
"""
    process = subprocess.Popen(
        [sys.executable, "-c", code], env=os.environ | {"PYTHONPATH": os.getcwd()}
    )
    deadline = time.monotonic() + 180
    while not (tmp_path / "broken/step10").exists():
        assert time.monotonic() < deadline and process.poll() is None
        time.sleep(0.02)
    process.send_signal(signal.SIGKILL)
    assert process.wait(60) == -signal.SIGKILL
    # As if the run was killed while it wrote a checkpoint.
    (tmp_path / "broken/partial").mkdir(exist_ok=True)
    broken, same_curve = with_checkpoints(tmp_path / "broken", steps=again)
    assert torch.equal(whole, broken) and curve == same_curve
    assert 0 < len(again) < len(steps)
    assert not (tmp_path / "broken").exists()


def test_checkpoints_of_another_run_are_not_resumed(tmp_path):
    def interrupted(model, batch):
        if len(list(tmp_path.glob("step*"))):
            raise KeyboardInterrupt
        return squared(model, batch)

    settings = SHORT.model_copy(update=dict(checkpoint_steps=3))
    with pytest.raises(KeyboardInterrupt):
        train(Line(), DATA, interrupted, settings, CONTEXT, tmp_path)
    assert [path.name for path in tmp_path.glob("step*")] == ["step3"]
    shutil.copytree(tmp_path / "step3", kept := tmp_path / "kept")
    for seed, start, steps in ((0, 0.5, 13), (1, 0.5, 16), (0, 0.25, 16)):
        shutil.copytree(kept, tmp_path / str(seed) / str(start) / "step3")
        model = Line()
        count = []
        with torch.no_grad():
            model.linear.weight.fill_(start)

        def counted(model, batch, count=count):
            count.append(1)
            return squared(model, batch)

        train(
            model, DATA, counted, settings, TrainingContext(seed), tmp_path / str(seed) / str(start)
        )
        assert len(count) == steps
