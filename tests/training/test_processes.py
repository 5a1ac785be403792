"""Training in two processes on the CPU: the gradients, curves and checkpoints of one process."""

import copy
import json
import math
import os
import sys

import pytest
import torch
from safetensors.torch import load_file, save_file
from torch import nn

from embpress.study.task_training import Training
from embpress.training.batches import TrainingData, count_predictions
from embpress.training.distillation import Distillation
from embpress.training.launcher import is_main_process, launch
from embpress.training.loop import TrainingContext, train

from ..zoo import tiny

TERMS = ["embeddings", "attention", "hidden", "task"]
LENGTHS = (3, 9, 4, 7, 8, 3, 5, 6, 4, 9, 2)
"""Of the rows of one epoch: batches of five, whose shares have three rows and two; the last has one
row, so that one process has none."""
RUNS = {"masked": 1, "accumulated": 2}
"""Batches in a step, by the name of a run."""


def collate(rows):
    """A batch of masked rows: one token in three is to be predicted."""
    n = max(len(row["input_ids"]) for row in rows)
    ids = torch.zeros(len(rows), n, dtype=torch.int64)
    mask = torch.zeros_like(ids)
    for i, row in enumerate(rows):
        length = len(row["input_ids"])
        ids[i, :length] = torch.tensor(row["input_ids"])
        mask[i, :length] = 1
    is_masked = (torch.rand(ids.shape) < 1 / 3) & mask.bool()
    is_masked[0, 0] = True  # one process may have a share without a masked token, the other has one
    labels = torch.where(is_masked, ids, -100)
    return {"input_ids": ids.masked_fill(is_masked, 4), "attention_mask": mask, "labels": labels}


def rows():
    return [{"input_ids": [5 + (i + j) % 17 for j in range(n)]} for i, n in enumerate(LENGTHS)]


def distil(folder, name, stops_at=None):
    """Distil a tiny model; write its gradients before each step, its weights and its curve."""
    torch.manual_seed(0)
    student = tiny("bert_mlm").eval()
    teacher = copy.deepcopy(student)
    with torch.no_grad():
        for parameter in teacher.parameters():
            parameter.add_(torch.randn_like(parameter) * 0.1)
    gradients = {}
    clip = nn.utils.clip_grad_norm_

    def watched(parameters, *arguments, **options):
        step = len(gradients)
        values = [p.grad.flatten() for p in student.parameters() if p.grad is not None]
        gradients[str(step)] = torch.cat(values)
        if step == stops_at:
            raise KeyboardInterrupt
        return clip(parameters, *arguments, **options)

    settings = Training(
        epochs=2, batch_size=5, learning_rate=1e-2, accumulation=RUNS[name], checkpoint_steps=2
    )
    data = TrainingData(rows(), collate)
    nn.utils.clip_grad_norm_ = torch.nn.utils.clip_grad_norm_ = watched
    try:
        loss = Distillation(student, teacher, TERMS)
        context = TrainingContext(7, torch.device("cpu"))
        curve = train(student, data, loss, settings, context, folder / f"{name}.scratch")
    finally:
        nn.utils.clip_grad_norm_ = clip
    assert (curve is not None) == is_main_process()
    if curve is not None:
        save_file(gradients, folder / f"{name}.gradients")
        weights = {n: p.detach().contiguous() for n, p in student.named_parameters()}
        save_file(weights, folder / f"{name}.weights")
        (folder / f"{name}.json").write_text(json.dumps(curve))


def main(folder):
    """What each of two processes runs."""
    for name in RUNS:
        distil(folder, name)
    (folder / "again").mkdir(exist_ok=True)
    try:
        distil(folder / "again", "masked", stops_at=3)
    except KeyboardInterrupt:
        assert [path.name for path in (folder / "again").rglob("step*")] == ["step2"]
    distil(folder / "again", "masked")


SCRIPT = """
import importlib, sys
from pathlib import Path
import torch
torch.set_num_threads(1)
importlib.import_module("tests.training.test_processes").main(Path({folder!r}))
"""


@pytest.fixture(scope="module")
def folders(tmp_path_factory):
    """Results of one process and of two."""
    one, two = (tmp_path_factory.mktemp(name) for name in ("one", "two"))
    for name in RUNS:
        distil(one, name)
    script = two / "script.py"
    script.write_text(SCRIPT.format(folder=str(two)))
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("PYTHONPATH", os.pathsep.join([os.getcwd(), *sys.path]))
        assert launch(str(script), 2) == 0
    return one, two


@pytest.mark.parametrize("name", RUNS)
def test_two_processes_have_the_gradients_of_one(folders, name):
    """Of means over masked tokens too, of which the shares have unequal numbers."""
    one, two = (load_file(folder / f"{name}.gradients") for folder in folders)
    assert one.keys() == two.keys()
    assert len(one) == 2 * math.ceil(len(LENGTHS) / (5 * RUNS[name]))
    for step, expected in one.items():
        torch.testing.assert_close(two[step], expected, rtol=2e-3, atol=2e-6)
    one, two = (json.loads((folder / f"{name}.json").read_text()) for folder in folders)
    for expected, row in zip(one, two, strict=True):
        assert row == pytest.approx(expected, rel=1e-4)


def test_two_interrupted_processes_resume_to_the_same_bits(folders):
    whole, again = (load_file(f / "masked.weights") for f in (folders[1], folders[1] / "again"))
    assert all(torch.equal(whole[name], again[name]) for name in whole)
    assert not list((folders[1] / "again").glob("*.scratch"))


def test_a_failed_process_ends_all(tmp_path, capfd):
    """A first one that waits for the second, which fails or is killed."""
    script = tmp_path / "script.py"
    ends = {"sys.exit('the reason')": 1, "os.kill(os.getpid(), 9)": -9}
    for end, status in ends.items():
        lines = ["import os, sys, time", f"if os.environ['RANK'] == '1': {end}", "time.sleep(600)"]
        script.write_text("\n".join(lines))
        assert launch(str(script), 2) == status
    assert capfd.readouterr().err.strip() == "the reason"


def test_predictions_are_counted_as_the_terms_average_them():
    mask = torch.tensor([[1, 1, 1], [1, 0, 0]])
    labels = torch.tensor([[-100, 3, 4], [-100, -100, -100]])
    masked = {"input_ids": mask, "attention_mask": mask, "labels": labels}
    counts = {term: count_predictions(term, masked) for term in [*TERMS, "logits"]}
    assert counts == {"embeddings": 4, "attention": 10, "hidden": 4, "task": 2, "logits": 2}
    choices = torch.stack([mask, mask], 1)
    assert count_predictions("hidden", {"attention_mask": choices}) == 8
    assert count_predictions("task", masked | {"labels": torch.tensor([0.5, 0.5])}) == 2
    spans = {"input_ids": mask, "start_positions": labels[:, 1]}
    assert count_predictions("task", spans) == 2
