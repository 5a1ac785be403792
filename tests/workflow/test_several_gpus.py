"""The script of a rule with several GPUs: as many processes, here on the CPU, write one result."""

import json
import os
import subprocess
import sys

import pytest
import torch
from safetensors.torch import load_file
from transformers import BertForMaskedLM

from embpress.models.embedding import write_metadata

from ..conftest import ROOT
from ..task_entries import complete

SCRIPT = """
import sys
from types import SimpleNamespace

class Wildcards(dict):
    seed = "0"

class Files:
    def items(self):
        return {inputs!r}.items()

snakemake = SimpleNamespace(
    rule="finetune",
    wildcards=Wildcards(task="own", seed="0"),
    threads=2,
    resources={{"gpu": {gpu}}},
    log=[{log!r}],
    input=Files(),
    output=[{output!r}],
    params=SimpleNamespace(entry={entry!r}),
    config={{"device": "cpu"}},
)
sys.path.insert(0, {scripts!r})
path = {scripts!r} + "/finetune.py"
exec(compile(open(path).read(), path, "exec"))
"""
TEXTS = ["the cat, the dog", "a b c", "dogs", "cats. a dog", "abc", "the dogs", "a cat"]


@pytest.fixture
def base(tmp_path, bert, wordpiece):
    """A checkpoint without dropout, whose random numbers differ from process to process."""
    torch.manual_seed(0)
    bert.config.hidden_dropout_prob = bert.config.attention_probs_dropout_prob = 0.0
    model = BertForMaskedLM(bert.config)
    model.save_pretrained(tmp_path / "base")
    wordpiece.save_pretrained(tmp_path / "base")
    write_metadata(model, wordpiece.all_special_ids, tmp_path / "base", {})
    return tmp_path / "base"


def run(base, name, gpu, labels):
    """Run the script of the rule `finetune`, as Snakemake does; returns its process."""
    folder = base.parent
    rows = [json.dumps({"text": t, "label": "ab"[i % 2]}) + "\n" for i, t in enumerate(TEXTS)]
    (folder / "rows.jsonl").write_text("".join(rows))
    data = {"format": "jsonl", "text": "text", "label": "label", "labels": labels}
    data |= dict.fromkeys(("train", "test"), str(folder / "rows.jsonl"))
    finetune = {"epochs": 2, "batch_size": 2, "learning_rate": 1e-3}
    entry = complete("classification", {"data": data, "finetune": finetune, "test_examples": 4})
    files = {"model": str(base), "train": data["train"], "test": data["test"]}
    script = folder / f"{name}.py"
    script.write_text(
        SCRIPT.format(
            inputs=files,
            gpu=gpu,
            log=str(folder / f"{name}.log"),
            output=str(folder / name),
            entry=entry,
            scripts=str(ROOT / "workflow/scripts"),
        )
    )
    environment = os.environ | {"CUDA_VISIBLE_DEVICES": ""}
    return subprocess.run(
        [sys.executable, str(script)], env=environment, capture_output=True, text=True, timeout=300
    )


def test_a_rule_with_two_gpus_trains_in_two_processes(base):
    folder = base.parent
    for name, gpu in (("one", 1), ("two", 2)):
        process = run(base, name, gpu, ["a", "b"])
        assert process.returncode == 0, process.stderr
    one, two = (load_file(folder / name / "model.safetensors") for name in ("one", "two"))
    start = load_file(base / "model.safetensors")["bert.embeddings.word_embeddings.weight"]
    assert (one["bert.embeddings.word_embeddings.weight"] - start).abs().max() > 1e-3
    # Adam's steps enlarge differences of small gradients in their last bits.
    for key, expected in one.items():
        torch.testing.assert_close(two[key], expected, rtol=0, atol=1e-4)
    curves = [json.loads((folder / name / "training.json").read_text()) for name in ("one", "two")]
    assert [row["loss"] for row in curves[0]["rows"]] == pytest.approx(
        [row["loss"] for row in curves[1]["rows"]], rel=1e-4
    )
    record = json.loads((folder / "two.json").read_text())
    assert record["rule"] == "finetune" and record["threads"] == 2
    # Only the first process writes.
    steps = [line.split(": ", 1)[1] for line in process.stderr.splitlines()]
    assert [step.split(",")[0] for step in steps] == [f"step {i}/4" for i in (1, 2, 3, 4)]
    assert (folder / "two.log").read_text() == process.stderr


def test_several_processes_report_a_mistake_once(base):
    process = run(base, "wrong", 2, ["a", "b", "c"])
    assert process.returncode == 1
    (line,) = process.stderr.splitlines()
    assert "no row has the label 'c'" in line and not (base.parent / "wrong.json").exists()
