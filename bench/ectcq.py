"""Where ECTCQ's bits go, and its distance to the bound, on the embeddings of the default study.

    python -m bench.ectcq --results results --models minilm smollm2 e5 --ratios 4 10

It needs the files that `bench.codes` names, of E5 those of the corpus `software` too. Prints a line
for each table and ratio; docs/findings/ectcq.md keeps measured ones.
"""

import argparse
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
import torch
from torch.nn import functional

from embpress.data.token_counts import read_counts
from embpress.fidelity.rate_distortion import GaussianSource, distance_db
from embpress.fidelity.reconstruction import reconstruction
from embpress.formats.entropy_coded import EntropyCoded
from embpress.methods import compress
from embpress.methods._base import Context
from embpress.models.checkpoints import embedding_matrix, read_metadata
from embpress.numerics.row_references import encode_references
from embpress.numerics.weights import smooth_counts

CORPORA = {"minilm": "wikipedia", "smollm2": "wikipedia", "e5": "software"}
"""Corpus of each model's counts."""
RUNS = 41
"""Times that a lookup is timed."""


def lower_quartile(lookup: Callable[[torch.Tensor], torch.Tensor], ids: torch.Tensor) -> float:
    """Microseconds of a lookup of ids (RUNS, n): the lower quartile, after one to warm up."""
    lookup(ids[0])
    seconds = []
    for chosen in ids:
        start = time.perf_counter()
        lookup(chosen)
        seconds.append(time.perf_counter() - start)
    return 1e6 * float(np.quantile(seconds, 0.25))


def measure(results: Path, model: str, ratio: float) -> str:
    """The line of a table and a ratio."""
    matrix = embedding_matrix(results / "models" / model)
    counts = read_counts(results / f"frequency/{CORPORA[model]}/tokens-{model}.safetensors")
    special = tuple(read_metadata(results / "models" / model)["special_ids"])
    start = time.process_time()
    # The bound is of errors weighted by the counts themselves.
    code = compress(matrix, "ectcq", ratio, Context(counts, special_ids=special), count_power=1.0)
    fit = time.process_time() - start
    assert isinstance(code, EntropyCoded)
    error = reconstruction(matrix, code, counts).weighted_relative_error
    bound = GaussianSource.from_matrix(matrix).relative_error(code.ratio, smooth_counts(counts))
    basis = 16 * len(code.coded_basis)
    references = 16 * len(encode_references(code.references))
    records = 16 * len(code.words) - code.stop - basis - references
    ids = torch.randint(len(matrix), (RUNS, 1024), generator=torch.Generator().manual_seed(0))
    times = [
        lower_quartile(code.rows, ids),
        lower_quartile(code.rows, ids[:, :1]),
        lower_quartile(lambda chosen: functional.embedding(chosen, matrix), ids),
    ]
    cells = (
        f"{model} | {code.ratio:.2f} | {error:.6f} | {distance_db(error, bound):.3f}",
        f"{100 * basis / code.stored_bits:.1f} %",
        f"{100 * references / code.stored_bits:.1f} %",
        f"{100 * records / code.stored_bits:.1f} % | {records / len(matrix):.1f}",
        f"{100 * float(code.length.sum()) / code.stored_bits:.1f} %",
        f"{fit:.1f} | {times[0] / 1e3:.2f} | {times[1]:.0f} | {times[0] / times[2]:.1f}",
    )
    return f"| {' | '.join(cells)} |"


def main() -> None:
    """Print the lines."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--results", type=Path, default=Path("results"))
    parser.add_argument("--models", nargs="+", choices=CORPORA, default=list(CORPORA))
    parser.add_argument("--ratios", nargs="+", type=float, default=[4.0, 10.0, 16.0, 25.0, 32.0])
    arguments = parser.parse_args()
    torch.set_num_threads(1)
    print(
        "| table | ratio | weighted error | dB | basis | references | records "
        "| bits a row of these | rows | fit, s | 1,024 rows, ms | one row, us "
        "| 1,024 rows, x dense |"
    )
    print("|---|" + "--:|" * 12)
    for model in arguments.models:
        for ratio in arguments.ratios:
            print(measure(arguments.results, model, ratio), flush=True)


if __name__ == "__main__":
    main()
