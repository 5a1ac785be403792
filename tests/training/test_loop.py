"""The loop: learning, the curve, held-out rows, and runs that are killed."""

import json
import os
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
import torch
from torch import distributed, nn

from embpress.training.loop import Settings, train

SETTINGS = Settings(epochs=6, batch_size=4, learning_rate=0.05)


class Line(nn.Module):
    """y = w x + b behind dropout, as `rows` want it."""

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


def squared(model, batch):
    return {"task": (model(batch["x"]) - batch["y"]).square().mean()}


def weights(model):
    return torch.cat([p.detach().flatten() for p in model.parameters()])


def test_it_learns_and_says_how(tmp_path):
    model = Line()
    settings = Settings(epochs=6, batch_size=4, learning_rate=0.2)
    curve = train(model, rows(), collate, squared, settings, 0, tmp_path / "scratch")
    steps = 6 * 8
    assert curve[-1]["step"] == steps and curve[-1]["epoch"] == 6
    assert curve[-1]["loss"] < 0.2 * curve[0]["loss"]
    rates = {row["step"]: row["learning_rate"] for row in curve}
    # As of the next step: full after the tenth that warms up, then straight down to 0.
    assert max(rates.values()) == pytest.approx(0.2) and rates[steps] == 0
    assert rates[1] == pytest.approx(0.2 / 5) and rates[26] == pytest.approx(0.2 * (48 - 26) / 43)
    assert not (tmp_path / "scratch").exists()


def test_the_seed_decides_dropout_and_order(tmp_path):
    found = []
    for seed in (0, 0, 1):
        model = Line(dropout=0.5)
        train(model.train(), rows(), collate, squared, SETTINGS, seed, tmp_path)
        found.append(weights(model))
    assert torch.equal(found[0], found[1]) and not torch.equal(found[0], found[2])


def test_accumulated_batches_are_one_large_batch(tmp_path):
    found = []
    for size, accumulation in ((8, 1), (2, 4)):
        model = Line()
        seen = []

        def loss(model, batch, seen=seen):
            seen.append(len(batch["x"]))
            return squared(model, batch)

        settings = Settings(
            epochs=1, batch_size=size, learning_rate=0.05, accumulation=accumulation
        )
        same_length = [row | {"input_ids": [1]} for row in rows(8)]
        curve = train(model, same_length, collate, loss, settings, 0, tmp_path)
        assert len(curve) == 1 and sum(seen) == 8 and len(seen) == accumulation
        found.append(weights(model))
    torch.testing.assert_close(found[0], found[1])


def test_bfloat16_computes_otherwise_and_weights_stay_float32(tmp_path):
    found = []
    for precision in ("fp32", "bf16"):
        model = Line()
        types = []

        def loss(model, batch, types=types):
            out = model(batch["x"])
            types.append(out.dtype)
            return {"task": (out.float() - batch["y"]).square().mean()}

        train(model, rows(), collate, loss, Settings(2, 4, 0.05, precision=precision), 0, tmp_path)
        assert types[0] == (torch.bfloat16 if precision == "bf16" else torch.float32)
        assert model.linear.weight.dtype == torch.float32
        found.append(weights(model))
    torch.testing.assert_close(found[0], found[1], rtol=0.1, atol=0.1)


def test_weight_decay_shrinks_matrices_and_leaves_biases(tmp_path):
    model = Line()
    with torch.no_grad():
        model.linear.bias.fill_(1)

    def nothing(model, batch):
        return {"task": 0 * model(batch["x"]).sum()}

    train(model, rows(), collate, nothing, Settings(2, 4, 0.05, weight_decay=1.0), 0, tmp_path)
    assert model.linear.weight.item() < 0.4 and model.linear.bias.item() == 1


def test_early_stopping_takes_the_best_epoch_by_rows_it_held_out(tmp_path):
    seen = set()

    def watched(chosen):
        seen.update(row["x"] for row in chosen if model.training)
        return collate(chosen)

    model = Line().train()
    settings = Settings(epochs=40, batch_size=4, learning_rate=2.0, warmup=0.0, patience=2)
    curve = train(model, rows(), watched, squared, settings, 0, tmp_path)
    judged = [row for row in curve if "held_out_loss" in row]
    assert len(seen) == 27 and model.training
    assert len(judged) < 40 and judged[-1]["epoch"] == len(judged)
    losses = [row["held_out_loss"] for row in judged]
    assert losses.index(min(losses)) == len(losses) - 3  # two epochs without a better one end it
    held_out = [row for row in rows() if row["x"] not in seen]
    assert squared(model, collate(held_out))["task"].item() == pytest.approx(min(losses), rel=1e-4)


def with_checkpoints(scratch, pause=0.0, steps=None):
    """A training with dropout, held-out rows and checkpoints: weights and curve."""

    def loss(model, batch):
        time.sleep(pause)
        if steps is not None and model.training:
            steps.append(1)
        return squared(model, batch)

    model = Line(dropout=0.3).train()
    settings = Settings(epochs=6, batch_size=4, learning_rate=0.05, patience=5, checkpoint_steps=5)
    curve = train(model, rows(), collate, loss, settings, 0, scratch)
    return weights(model), curve


def test_a_killed_run_goes_on_and_comes_to_the_same_bits(tmp_path):
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
    (tmp_path / "broken/partial").mkdir(exist_ok=True)  # as if it died while it wrote
    broken, same_curve = with_checkpoints(tmp_path / "broken", steps=again)
    assert torch.equal(whole, broken) and curve == same_curve
    assert 0 < len(again) < len(steps)
    assert not (tmp_path / "broken").exists()


def test_a_checkpoint_of_another_training_is_not_gone_on_from(tmp_path):
    def interrupted(model, batch):
        if len(list(tmp_path.glob("step*"))):
            raise KeyboardInterrupt
        return squared(model, batch)

    settings = Settings(epochs=2, batch_size=4, learning_rate=0.05, checkpoint_steps=3)
    with pytest.raises(KeyboardInterrupt):
        train(Line(), rows(), collate, interrupted, settings, 0, tmp_path)
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

        train(model, rows(), collate, counted, settings, seed, tmp_path / str(seed) / str(start))
        assert len(count) == steps


def in_a_group(rank, meeting, scratch):
    """One of two processes that train together: its weights and curve."""
    distributed.init_process_group("gloo", init_method=f"file://{meeting}", rank=rank, world_size=2)
    try:
        model = Line()
        curve = train(model, rows(), collate, squared, SETTINGS, 0, Path(scratch))
        return weights(model), curve
    finally:
        distributed.destroy_process_group()


def test_two_processes_train_as_one(tmp_path):
    alone = Line()
    curve = train(alone, rows(), collate, squared, SETTINGS, 0, tmp_path / "alone")
    code = f"""
import runpy, torch
torch.set_num_threads(1)
found = runpy.run_path({__file__!r})["in_a_group"](1, {str(tmp_path / "meeting")!r}, {str(tmp_path / "both")!r})
print(found[0].tolist())
"""
    other = subprocess.Popen(
        [sys.executable, "-c", code],
        env=os.environ | {"PYTHONPATH": os.getcwd()},
        stdout=subprocess.PIPE,
        text=True,
    )
    together, same_curve = in_a_group(0, tmp_path / "meeting", tmp_path / "both")
    printed, _ = other.communicate(timeout=120)
    assert other.returncode == 0
    torch.testing.assert_close(torch.tensor(json.loads(printed)), together, rtol=0, atol=0)
    torch.testing.assert_close(together, weights(alone), rtol=1e-4, atol=1e-5)
    assert same_curve[-1]["loss"] == pytest.approx(curve[-1]["loss"], rel=1e-4)
