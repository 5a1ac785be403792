"""What a GPU computes, and how fast, beside the CPU: one command for a machine that has one.

1. The tests of devices run on it: formats, models, fits and every kind of task.
2. The smoke study runs on it, and the same artefacts are evaluated again on the CPU: retention may
   differ by at most TOLERANCE percentage points.
3. Fits that are trained are compared by error and time, and models by examples a second.

It exits with status 1 if a test or a comparison fails. `--device cpu` tries the script itself.
"""

import os
import subprocess
import sys
import tempfile
import time
from dataclasses import replace
from pathlib import Path

import torch

from embpress.data.texts import read_texts
from embpress.data.token_counts import read_counts
from embpress.errors import UserError
from embpress.fidelity.reconstruction import reconstruction
from embpress.methods import compress
from embpress.methods._base import Context
from embpress.models.checkpoints import embedding_matrix
from embpress.models.loading import load_model
from embpress.models.tokenization import load_tokenizer
from embpress.numerics.device import CPU, choose_device
from embpress.pipeline.evaluation import Runtime
from embpress.tasks._encoding import run_batches

from .common import Table, parser, verdict
from .studies import ROOT, differences, evaluate_again, read_scores, run_study

TESTS = [
    *(f"tests/{room}/test_devices.py" for room in ("formats", "models", "methods", "tasks")),
    "tests/training/test_students.py::test_training_on_another_device_gives_the_same_weights",
]
STUDY = ROOT / "studies/smoke.yaml"
TOLERANCE = 1.0
"""Percentage points of retention: one of 200 examples is 0.5 points of accuracy."""
ERROR_TOLERANCE = 0.01
"""Relative difference of the reconstruction errors of a trained fit."""
FITS = {"b21": {"epochs": 2}, "b23": {"epochs": 3}, "lighttoken": {}}
RATIO = 10.0
FIT_ROWS = 4096
"""Rows of the matrix that is fitted, so that the CPU takes seconds."""
MODELS = {"minilm": "encoder", "e5": "encoder", "smollm2": "causal_lm"}
LENGTH = 128
"""Tokens of an example."""
CHARACTERS = 1000
"""Characters of an example's text, which fill its tokens."""
EXAMPLES = {"cpu": 32, "cuda": 4096}


def run_tests(device: torch.device) -> bool:
    """Run the tests of devices on this one."""
    environment = os.environ | {"EMBPRESS_TEST_DEVICE": device.type}
    command = [sys.executable, "-m", "pytest", "-q", "-n", "0", *TESTS]
    return subprocess.run(command, cwd=ROOT, env=environment).returncode == 0


def compare_scores(folder: Path, device: torch.device) -> bool:
    """Run the smoke study on the device, and evaluate its artefacts on the CPU too."""
    run_study(folder / "device", STUDY, "results/scores.csv", device=device.type)
    after = evaluate_again(folder / "device", STUDY, folder / "cpu", device="cpu")
    table = Table(
        f"Scores on {device.type} and on the CPU",
        *("task", "metric", "scores", "largest change", "points of retention", f"<= {TOLERANCE:g}"),
    )
    are_met = []
    for row in differences(read_scores(folder / "device"), after).itertuples():
        are_met.append(row.retention <= TOLERANCE)
        cells = (row.task, row.metric, row.n, f"{row.largest:.2g}", f"{row.retention:.3f}")
        table.add(*cells, verdict(are_met[-1]))
    table.print()
    return all(are_met)


def compare_fits(results: Path, device: torch.device) -> bool:
    """Fit the trained methods on both devices."""
    counts = read_counts(results / "frequency/wikipedia/tokens-minilm.safetensors")[:FIT_ROWS]
    matrix = embedding_matrix(results / "models/minilm")[:FIT_ROWS]
    context = Context(counts)
    table = Table(
        f"Fits at {RATIO:g}x of {matrix.shape[0]:,} x {matrix.shape[1]}",
        *("method", f"s on {device.type}", "s on the CPU", "times"),
        *("relative error", "on the CPU", f"within {ERROR_TOLERANCE:.0%}"),
    )
    are_met = []
    # The first work on a GPU starts its libraries, which is not timed.
    compress(matrix[:1024], "b21", 4, Context(device=device))
    for method, options in FITS.items():
        seconds = []
        errors = []
        for where in (device, CPU):
            start = time.perf_counter()
            fitted = compress(matrix, method, RATIO, replace(context, device=where), **options)
            seconds.append(time.perf_counter() - start)
            errors.append(reconstruction(matrix, fitted, counts).relative_error)
        are_met.append(abs(errors[0] / errors[1] - 1) <= ERROR_TOLERANCE)
        times = [f"{value:.2f}" for value in (*seconds, seconds[1] / seconds[0])]
        table.add(method, *times, *(f"{error:.4f}" for error in errors), verdict(are_met[-1]))
    table.print()
    return all(are_met)


def examples_a_second(checkpoint: Path, head: str, texts: list[str], runtime: Runtime) -> float:
    """Examples of LENGTH tokens that a model evaluates in a second."""
    dtype = getattr(torch, runtime.precision)
    model = load_model(checkpoint, head, runtime.device, dtype)
    tokenizer = load_tokenizer(checkpoint)
    tokenizer.pad_token = tokenizer.pad_token or tokenizer.eos_token
    n = EXAMPLES[runtime.device.type]
    chosen = [texts[i % len(texts)] for i in range(n)]
    encoded = tokenizer(chosen, truncation=True, max_length=LENGTH)

    def forward(batch: dict[str, torch.Tensor]) -> torch.Tensor:
        output = model(**{k: v for k, v in batch.items() if k != "token_type_ids"})
        values = output.logits if head == "causal_lm" else output.last_hidden_state
        return values[:, -1, :1]

    def run(count: int) -> None:
        inputs = {name: values[:count] for name, values in encoded.items()}
        run_batches(inputs, tokenizer, runtime.device, forward, lambda line: None)

    run(min(n, 256))
    start = time.perf_counter()
    run(n)
    return n / (time.perf_counter() - start)


def compare_throughput(results: Path, device: torch.device) -> None:
    """Time the evaluation of the study's models."""
    texts = read_texts(results / "corpora/wikipedia/counted.jsonl")
    texts = [text[:CHARACTERS] for text in texts if len(text) >= CHARACTERS]
    runtimes = [Runtime(device), Runtime(device, "bfloat16"), Runtime(device, "float16"), Runtime()]
    columns = [f"{r.device.type}, {r.precision}" for r in runtimes]
    table = Table(f"Examples of {LENGTH} tokens a second", "model", *columns, "float32, times")
    for name, head in MODELS.items():
        rates = [examples_a_second(results / "models" / name, head, texts, r) for r in runtimes]
        table.add(name, *(f"{rate:,.0f}" for rate in rates), f"{rates[0] / rates[-1]:.1f}")
    table.print()


def main() -> None:
    """Run all comparisons."""
    options = parser(__doc__)
    options.add_argument("--device", default="cuda", help="cuda, or cpu to try this script")
    chosen = options.parse_args()
    try:
        device = choose_device(chosen.device)
    except UserError as error:
        sys.exit(f"bench.gpu: {error}")
    start = time.perf_counter()
    print(torch.cuda.get_device_name() if device.type == "cuda" else "no GPU: tries this script")
    are_met = [run_tests(device)]
    with tempfile.TemporaryDirectory() as folder:
        are_met.append(compare_scores(Path(folder), device))
        results = Path(folder) / "device/results"
        are_met.append(compare_fits(results, device))
        compare_throughput(results, device)
    print(f"{time.perf_counter() - start:.0f} s in all")
    sys.exit(not all(are_met))


if __name__ == "__main__":
    main()
