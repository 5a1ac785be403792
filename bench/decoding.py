"""Lookups of 1,024 tokens of text by each way to decode, by every method, on MiniLM's table.

Each lookup is of the next 1,024 tokens of held-out text, by the layer that replaces the embedding
of a loaded model, as a multiple of `nn.Embedding`'s in the same run. Times are processor times in
one thread. The model, its token counts and the text are those of the default study, which makes
them:

    snakemake --cores 2 results/models/minilm/model.safetensors
    snakemake --cores 2 results/frequency/wikipedia/tokens-minilm.safetensors
"""

import json
import time
from collections.abc import Callable
from itertools import cycle
from pathlib import Path
from typing import get_args

import torch
from torch import Tensor, nn

from embpress.data.token_counts import read_counts
from embpress.errors import InfeasibleRatio
from embpress.formats._base import CompressedMatrix
from embpress.methods import compress
from embpress.methods._base import Context
from embpress.models.checkpoints import embedding_matrix, read_metadata
from embpress.models.decoding import Decode, most_frequent, with_decoding
from embpress.models.embedding import CompressedEmbedding
from embpress.models.tokenization import load_tokenizer
from embpress.numerics.timing import time_functions

from .common import Table, chosen_of, parser, verdict
from .lookups import MOST, cases

TOKENS = 1024
"""Tokens of a lookup."""
CORPUS = "wikipedia"
MODEL = "minilm"


def token_windows(results: Path) -> Tensor:
    """Held-out text as consecutive windows of token ids: int64 (n, TOKENS)."""
    tokenizer = load_tokenizer(results / "models" / MODEL)
    lines = (results / "corpora" / CORPUS / "held_out.jsonl").read_text(encoding="utf-8")
    ids = [i for line in lines.splitlines() for i in tokenizer.encode(json.loads(line))]
    n = len(ids) // TOKENS
    return torch.tensor(ids[: n * TOKENS]).view(n, TOKENS)


def measured(
    compressed: CompressedMatrix, dense: Tensor, frequent: list[int], windows: Tensor, runs: int
) -> list[float]:
    """Seconds of a lookup in the dense matrix, then of each way to decode: medians."""
    ways: tuple[Decode, ...] = get_args(Decode)
    layers: list[nn.Module] = [nn.Embedding.from_pretrained(dense)]
    layers += [
        CompressedEmbedding(with_decoding(compressed, way, frequent, dense.dtype)) for way in ways
    ]

    def lookup(layer: nn.Module) -> Callable[[], Tensor]:
        ids = cycle(windows)
        return lambda: layer(next(ids))

    times = time_functions(*map(lookup, layers), runs=runs, clock=time.process_time)
    return [own.median for own in times]


def main() -> None:
    """Fit every method and print how its lookups compare."""
    options = parser(__doc__)
    options.add_argument("--results", type=Path, default=Path("results"))
    options.add_argument("--runs", type=int, default=41)
    options.add_argument("--methods", default=",".join(cases()), help="separated by commas")
    chosen = options.parse_args()
    labels = chosen_of(chosen.methods, cases(), options)
    torch.set_num_threads(1)
    dense = embedding_matrix(chosen.results / "models" / MODEL).float()
    counts = read_counts(chosen.results / "frequency" / CORPUS / f"tokens-{MODEL}.safetensors")
    special_ids = tuple(read_metadata(chosen.results / "models" / MODEL)["special_ids"])
    windows = token_windows(chosen.results)
    frequent = most_frequent(counts)
    share = torch.isin(windows, torch.tensor(frequent)).double().mean()
    table = Table(
        f"Lookups of {TOKENS:,} tokens, {dense.shape[0]:,} x {dense.shape[1]}, one thread: times "
        f"nn.Embedding's; {100 * share:.1f} % of the tokens are in the cache",
        *("method", "ratio", "nn.Embedding", *get_args(Decode)),
        f"cached <= {MOST:g}",
    )
    for label, (method, ratio, method_options) in cases().items():
        if label not in labels:
            continue
        context = Context(counts, special_ids=special_ids)
        try:
            compressed = compress(dense, method, ratio, context, **method_options)
        except InfeasibleRatio as error:
            print(f"   {label}: {error}")
            continue
        with torch.inference_mode():
            plain, *ways = measured(compressed, dense, frequent, windows, chosen.runs)
        by_way = dict(zip(get_args(Decode), (way / plain for way in ways)))
        table.add(
            label,
            f"{compressed.ratio:.1f}",
            f"{1e6 * plain:.0f} us",
            *(f"{ratio:.2f}" for ratio in by_way.values()),
            verdict(by_way["cached"] <= MOST),
        )
    table.print()


if __name__ == "__main__":
    main()
