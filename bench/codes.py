"""Every code on the embeddings of MiniLM and SmolLM2: errors, distance to the bound, times.

The models and token counts are those of the default study, which makes them:

    snakemake --cores 2 results/models/{minilm,smollm2}
    snakemake --cores 2 results/frequency/wikipedia/tokens-{minilm,smollm2}.safetensors

Each result is one line of docs/findings/codes.csv, which is written as soon as it is measured: a
run that is interrupted, or has some --codes only, is continued by the next. At its end
docs/findings/codes.md is written from all lines. --again measures anew what is there.
"""

import csv
import datetime
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, NamedTuple

import torch
from threadpoolctl import threadpool_limits
from torch import Tensor
from torch.nn import functional

from embpress.data.token_counts import read_counts
from embpress.errors import InfeasibleRatio
from embpress.fidelity.rate_distortion import GaussianSource, distance_db
from embpress.formats._base import ROW_BLOCK, CompressedMatrix
from embpress.methods import compress
from embpress.methods._base import Context
from embpress.models.checkpoints import embedding_matrix, read_metadata
from embpress.numerics.timing import summarize_times
from embpress.numerics.weights import smooth_counts
from embpress.pipeline.provenance import code_commit

from .common import chosen_of, parser
from .listed_codes import FIXED, Code, codes

MODELS = {"minilm": "MiniLM-L6", "smollm2": "SmolLM2-135M"}
LOOKUPS = 1024
"""Rows of a timed lookup."""
RUNS = 41
"""Times that a lookup is timed."""
COLUMNS = (
    *("code", "ratio", "error", "independent", "weighted", "dB", "weighted dB"),
    *("fit, CPU s", "lookup, x dense"),
)
INTRODUCTION = f"""# Codes on two embedding tables

Written by `python -m bench.codes` (its docstring says what it needs) from [`codes.csv`](codes.csv).

- *Ratio* is the achieved one, to which the errors belong. A code that cannot reach the ratio of a
  block is left out of it.
- *Error* is the relative error of all rows. *Weighted* counts each row with its smoothed token
  count. ECTCQ and the frequency tiers minimize it, methods without counts do not.
- *Independent* is the error of another implementation of the same code (`bench/peers.py`).
- *dB* and *weighted dB* are the distances to the rate-distortion bounds on these errors at the
  achieved ratio, for Gaussian rows of the same covariance. Rows that are less Gaussian may be
  nearer than 0.
- SmolLM2's table comes from a GGUF file, and all its values are on the grid of Q8_0, which has no
  error therefore.
- *Fit* and *lookup* are processor times in one thread, as far as the methods' libraries obey. A
  lookup is of {LOOKUPS:,} rows, as a multiple of a dense one in the same run (lower quartiles)."""


class Line(NamedTuple):
    """A line of the CSV; numbers are empty where there are none."""

    model: str
    block: str
    code: str
    ratio: str
    relative_error: str
    peer_error: str
    weighted_error: str
    bound_db: str
    weighted_bound_db: str
    fit_seconds: str
    lookup_us: str
    dense_lookup_us: str
    commit: str = ""
    """Commit and date of the measurement."""
    date: str = ""


class Table:
    """An embedding with its counts and its bound."""

    def __init__(self, results: Path, model: str) -> None:
        self.model = model
        self.matrix = embedding_matrix(results / "models" / model)
        self.counts = read_counts(results / f"frequency/wikipedia/tokens-{model}.safetensors")
        self.special_ids = tuple(read_metadata(results / "models" / model)["special_ids"])
        self.source = GaussianSource.from_matrix(self.matrix)
        self.weights = smooth_counts(self.counts)

    def errors(self, decode: Callable[[Tensor], Tensor]) -> tuple[float, float]:
        """Relative and weighted relative error of decoded rows."""
        lost = torch.zeros(2, dtype=torch.float64)
        energy = torch.zeros(2, dtype=torch.float64)
        for ids in torch.arange(len(self.matrix)).split(ROW_BLOCK):
            rows = self.matrix[ids].double()
            for total, values in ((energy, rows), (lost, rows - decode(ids).double())):
                squares = values.square().sum(1)
                total += torch.stack([squares.sum(), (squares * self.weights[ids]).sum()])
        relative = (lost / energy).sqrt().tolist()
        return relative[0], relative[1]

    def measure(self, code: Code, ratio: float) -> Line:
        """Fit, decode and look up a code."""
        block = code.block or f"{ratio:g}x"
        context = Context(self.counts, special_ids=self.special_ids)
        start = time.process_time()
        try:
            compressed = compress(self.matrix, code.method, ratio, context, **code.options)
        except InfeasibleRatio:
            return Line(self.model, block, code.label, *[""] * 9, *_when())
        seconds = time.process_time() - start
        relative, weighted = self.errors(compressed.rows)
        bounds = [self.source.relative_error(compressed.ratio, w) for w in (None, self.weights)]
        distances = [distance_db(relative, bounds[0]), distance_db(weighted, bounds[1])]
        peer = ""
        if code.peer is not None:
            decoded = torch.from_numpy(code.peer(self.matrix.numpy()))
            peer = f"{self.errors(lambda ids: decoded[ids])[0]:.6f}"
        dense, lookup = self._lookups(compressed)
        return Line(
            self.model,
            block,
            code.label,
            f"{compressed.ratio:.4f}",
            f"{relative:.6f}",
            peer,
            f"{weighted:.6f}",
            *("" if db is None else f"{db:.3f}" for db in distances),
            f"{seconds:.2f}",
            f"{1e6 * lookup:.0f}",
            f"{1e6 * dense:.0f}",
            *_when(),
        )

    def _lookups(self, compressed: CompressedMatrix) -> tuple[float, float]:
        """Seconds of a dense and a compressed lookup of LOOKUPS rows, in turn.

        Lower quartiles of processor times, which other load on the machine changes least.
        """
        generator = torch.Generator().manual_seed(0)
        shape = (RUNS + 1, 2, LOOKUPS)
        seconds: list[list[float]] = []
        with torch.inference_mode():
            for dense_ids, ids in torch.randint(len(self.matrix), shape, generator=generator):
                times = [time.process_time()]
                functional.embedding(dense_ids, self.matrix)
                times.append(time.process_time())
                compressed.rows(ids)
                times.append(time.process_time())
                seconds.append([b - a for a, b in zip(times, times[1:])])
        # The first lookup warms up.
        dense, ours = zip(*seconds[1:])
        return summarize_times(dense).low, summarize_times(ours).low


def _when() -> tuple[str, str]:
    """Commit of the code, empty outside its repository, and today's date."""
    return (code_commit() or "")[:10], datetime.datetime.now(datetime.UTC).date().isoformat()


def read_lines(path: Path) -> list[Line]:
    """Lines of the CSV, none if there is no file."""
    if not path.exists():
        return []
    with path.open(encoding="utf-8", newline="") as file:
        return [Line(**row) for row in csv.DictReader(file)]


def write_lines(lines: list[Line], path: Path) -> None:
    """Write the CSV in the order of models, blocks and codes, whole or not at all."""
    known = list(dict.fromkeys(code.label for code in codes().values()))
    partial_path = path.with_suffix(".partial")
    with partial_path.open("w", encoding="utf-8", newline="") as file:
        writer = csv.writer(file, lineterminator="\n")
        writer.writerow(Line._fields)
        writer.writerows(sorted(lines, key=lambda line: _place(line, known)))
    partial_path.replace(path)


def _place(line: Line, known: list[str]) -> tuple[Any, ...]:
    """Sorting key; codes that are no longer there are last."""
    ratio = 0.0 if line.block == FIXED else float(line.block[:-1])
    number = known.index(line.code) if line.code in known else len(known)
    return list(MODELS).index(line.model), ratio, number


def markdown(lines: list[Line]) -> Iterator[str]:
    """The page, line by line: a table for each model."""
    yield INTRODUCTION
    commits = {line.commit: line.date for line in lines if line.commit}
    dates = sorted({date for date in commits.values()})
    for date in dates:
        measured = sorted(f"`{commit}`" for commit, at in commits.items() if at == date)
        yield f"- Lines of {date} were measured at commits {', '.join(measured)}."
    for model, label in MODELS.items():
        rows = [line for line in lines if line.model == model and line.ratio]
        if not rows:
            continue
        yield ""
        yield f"## {label}"
        yield ""
        yield f"| {' | '.join(COLUMNS)} |"
        yield "|---|" + "--:|" * (len(COLUMNS) - 1)
        for block in dict.fromkeys(row.block for row in rows):
            yield f"| **{block}** {'| ' * len(COLUMNS)}".rstrip()
            yield from (_cells(row) for row in rows if row.block == block)


def _cells(line: Line) -> str:
    """A row of the page's table."""

    def short(value: str, digits: int) -> str:
        return f"{float(value):.{digits}f}" if value else ""

    cells = (
        line.code,
        # Rounded down, as in the tables of a study.
        f"{int(100 * float(line.ratio) + 1e-6) / 100:.2f}",
        short(line.relative_error, 4),
        short(line.peer_error, 4),
        short(line.weighted_error, 4),
        short(line.bound_db, 1),
        short(line.weighted_bound_db, 1),
        short(line.fit_seconds, 1),
        f"{float(line.lookup_us) / float(line.dense_lookup_us):.1f}",
    )
    return f"| {' | '.join(cells)} |"


def _measure_missing(table: Table, code: Code, ratio: float, path: Path, again: bool) -> None:
    """Add the line of a code at a ratio to the CSV, unless it is there."""
    key = (table.model, code.block or f"{ratio:g}x", code.label)
    lines = read_lines(path)
    if not again and key in {line[:3] for line in lines}:
        return
    line = table.measure(code, ratio)
    print("  ", " | ".join(line), flush=True)
    write_lines([*(line for line in read_lines(path) if line[:3] != key), line], path)


@contextmanager
def _one_thread() -> Iterator[None]:
    """Compute in one thread: threads that wait for each other spend processor time too."""
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    with threadpool_limits(1):
        yield
    torch.set_num_threads(threads)


def main() -> None:
    """Measure what is missing, and write the page."""
    options = parser(__doc__)
    options.add_argument("--results", type=Path, default=Path("results"))
    options.add_argument("--out", type=Path, default=Path("docs/findings"))
    options.add_argument("--models", default=",".join(MODELS), help="separated by commas")
    options.add_argument("--codes", default="", help="labels separated by ';', as --list has them")
    options.add_argument("--ratios", default="", help="blocks separated by commas; default all")
    options.add_argument("--again", action="store_true")
    options.add_argument("--list", action="store_true", help="print the labels of all codes")
    chosen = options.parse_args()
    known = codes()
    if chosen.list:
        print("\n".join(known))
        return
    labels = chosen.codes.split(";") if chosen.codes else list(known)
    if unknown := [label for label in labels if label not in known]:
        options.error(f"there is no {'; '.join(unknown)}; there are {'; '.join(known)}")
    ratios = [float(ratio) for ratio in chosen.ratios.split(",") if ratio]
    path = chosen.out / "codes.csv"
    for model in chosen_of(chosen.models, MODELS, options):
        if not (chosen.results / "models" / model).is_dir():
            options.error(f"{chosen.results} has no model {model}: make it as said above")
        with _one_thread():
            table = Table(chosen.results, model)
            for code in (known[label] for label in labels):
                for ratio in code.ratios:
                    if not ratios or ratio in ratios:
                        _measure_missing(table, code, ratio, path, chosen.again)
    lines = read_lines(path)
    (chosen.out / "codes.md").write_text("\n".join([*markdown(lines), ""]), encoding="utf-8")


if __name__ == "__main__":
    main()
