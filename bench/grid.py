"""Jobs and hours of a large study, from its dry run, its tokens and the speed of a machine.

The numbers of jobs are those that Snakemake plans. Hours are computed: operations by the sizes in
bench/grid.yaml, divided by the stated speeds. --measure prints the speeds of this machine.
"""

import math
import os
import subprocess
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import torch

from embpress.study.loading import load_study, read_pins
from embpress.study.search import candidates
from embpress.study.study import IDENTITY, Study
from embpress.study.yaml_files import read_yaml
from embpress.tasks import parse_entry

from .common import Table, parser

ROOT = Path(__file__).parents[1]
FORWARD = 2
"""Operations of a forward pass for each parameter and token: a product and a sum."""
TRAINING = 3 * FORWARD
"""Forward pass, gradients of activations and gradients of weights."""
PADDING = 1.25
"""Tokens of a batch that is padded to its longest row, for each token of its rows (estimated)."""
MEASURED_BATCH = (32, 128)
"""Rows and tokens of a batch that is timed."""


class Sizes:
    """Rows and tokens of a study's tasks, and parameters of its models."""

    def __init__(self, study: Study, tasks: Mapping[str, Mapping[str, Any]]) -> None:
        sizes: Any = read_yaml(ROOT / "bench/grid.yaml")
        self._study = study
        self._tasks = tasks
        self._benchmarks = sizes["benchmarks"]
        self._models = sizes["models"]

    def tokens(self, task: str, split: str) -> float:
        """Tokens of a split, padding included."""
        benchmark = self._tasks[task].get("benchmark")
        if benchmark is None:  # a student has the data of its uncompressed model
            return self.tokens(self._study.checkpoint_of(task), split)
        rows = self._benchmarks[benchmark]
        return float(rows[split] * rows["tokens"] * PADDING)

    def parameters(self, task: str) -> float:
        """Parameters by which a token is multiplied."""
        return float(self._models[self._study.tasks[task].model])


def planned_jobs(configfile: Path) -> dict[str, int]:
    """Numbers of jobs by rule, as a dry run plans them, in the order of the rules."""
    with tempfile.TemporaryDirectory() as folder:
        command = [sys.executable, "-m", "snakemake", "--snakefile", str(ROOT / "Snakefile")]
        command += ["--directory", folder, "--dry-run", "--quiet", "rules"]
        command += ["--configfile", str(configfile.resolve())]
        run = subprocess.run(command, capture_output=True, text=True, check=True)
    cells = [line.split() for line in run.stdout.splitlines()]
    return {line[0]: int(line[1]) for line in cells if len(line) == 2 and line[1].isdigit()}


def operations_by_rule(study: Study, sizes: Sizes) -> Counter[str]:
    """Floating-point operations of training and evaluation."""
    operations: Counter[str] = Counter()
    for task in study.tasks:
        for rule, amount in _operations(task, study, sizes):
            operations[rule] += amount * len(study.seeds)
    return operations


def _operations(task: str, study: Study, sizes: Sizes) -> Iterator[tuple[str, float]]:
    """Rules and operations of one task, for one seed."""
    entry: Any = study.tasks[task]
    variants = study.variants_of(task)
    n_artefacts = sum(len(variant.ratios) for variant in variants)
    test = sizes.parameters(task) * sizes.tokens(task, "test")
    yield "evaluate", FORWARD * test * n_artefacts
    train = sizes.parameters(task) * sizes.tokens(task, "train")
    if entry.is_student:
        n_students = sum(len(v.ratios) for v in variants if v.method != IDENTITY)
        stage = entry.finetune if entry.distil is None else entry.distil.stage2
        # The teacher's forward pass belongs to distillation.
        passes = TRAINING if entry.distil is None else TRAINING + FORWARD
        epochs = _mean(stage.epochs)
        yield "train_student", passes * train * epochs * n_students
        if study.text_stage_owner(task) == task:
            text = entry.distil.stage1
            tokens = text.tokens * text.epochs * sizes.parameters(task)
            yield "distil_on_text", (TRAINING + FORWARD) * tokens * n_students
    elif study.checkpoint_of(task) == task:
        if entry.finetune.is_searched:
            tried = candidates(entry.finetune).values()
            # The first seed alone searches.
            epochs = sum(one["epochs"] for one in tried) / len(study.seeds)
            yield "search", TRAINING * train * epochs * (1 - entry.finetune.held_out)
        yield "finetune", TRAINING * train * _mean(entry.finetune.epochs)


def _mean(value: float | tuple[float, ...]) -> float:
    """A setting, or the mean of those that a search tries."""
    return sum(value) / len(value) if isinstance(value, tuple) else value


def measured_speed(device: str) -> float:
    """Operations a second of a forward pass of BERT-base: of a GPU, or of one core.

    Processor time is measured, so that other load on the machine matters little.
    """
    from transformers.models.bert.configuration_bert import BertConfig
    from transformers.models.bert.modeling_bert import BertModel

    torch.set_num_threads(1)
    model = BertModel(BertConfig()).eval().to(device)
    layers = sum(parameter.numel() for parameter in model.encoder.parameters())
    ids = torch.zeros(MEASURED_BATCH, dtype=torch.long, device=device)
    clock = time.process_time if device == "cpu" else time.perf_counter
    seconds = math.inf
    with torch.inference_mode():
        for _ in range(3):
            start = clock()
            float(model(ids).last_hidden_state.sum())  # waits for the device
            seconds = min(seconds, clock() - start)
    return FORWARD * layers * ids.numel() / seconds


def main() -> None:
    """Print the table of rules."""
    options = parser(__doc__)
    options.add_argument("study", type=Path, nargs="?", default=ROOT / "studies/paper.yaml")
    options.add_argument("--training-tflops", type=float, default=50, help="of the GPU, in bf16")
    options.add_argument("--evaluation-tflops", type=float, default=10, help="of the GPU, in fp32")
    options.add_argument("--fit-seconds", type=float, default=60, help="core-seconds of a fit")
    options.add_argument("--startup-seconds", type=float, default=10, help="core-seconds of a job")
    options.add_argument("--measure", action="store_true", help="speeds of this machine alone")
    chosen = options.parse_args()
    if chosen.measure:
        for device in ["cpu", "cuda"] if torch.cuda.is_available() else ["cpu"]:
            print(f"{device}: {measured_speed(device) / 1e12:.3f} TFLOP/s of BERT-base, fp32")
        return
    config: Any = read_yaml(chosen.study)
    benchmarks: Any = read_yaml(ROOT / "workflow/resources/benchmarks.yaml")
    pins = read_pins(read_yaml(ROOT / "workflow/resources/packages.yaml"))
    study = load_study(config, benchmarks, pins, parse_entry)
    operations = operations_by_rule(study, Sizes(study, config["tasks"]))
    table = Table(
        f"{study.name}: {chosen.training_tflops:g} TFLOP/s in training, "
        f"{chosen.evaluation_tflops:g} in evaluation",
        *("rule", "jobs", "PFLOP", "GPU hours", "core hours"),
    )
    totals = [0.0, 0.0]
    for rule, n_jobs in planned_jobs(chosen.study).items():
        speed = chosen.evaluation_tflops if rule == "evaluate" else chosen.training_tflops
        gpu = operations[rule] / speed / 1e12 / 3600
        cpu = n_jobs * (chosen.startup_seconds + chosen.fit_seconds * (rule == "compress")) / 3600
        if rule not in ("all", "total"):
            totals = [totals[0] + gpu, totals[1] + cpu]
            table.add(rule, n_jobs, f"{operations[rule] / 1e15:.0f}", f"{gpu:.1f}", f"{cpu:.1f}")
    table.add("all", "", f"{operations.total() / 1e15:.0f}", *(f"{hours:.1f}" for hours in totals))
    table.print()
    print(f"{totals[1] / (os.cpu_count() or 1):.1f} hours of this machine's cores")


if __name__ == "__main__":
    main()
