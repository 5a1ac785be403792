"""Linear layers of BERT-base's shapes in one thread.

Operations and time of a product, as multiples of the dense layer's.
"""

from typing import Any

import torch
from torch.nn import functional

from embpress.errors import InfeasibleRatio
from embpress.formats._base import CompressedMatrix
from embpress.methods import compress
from embpress.numerics.timing import time_functions

from .common import Table, chosen_of, context, matrix, parser

SHAPES = {"attention": (768, 768), "intermediate": (3072, 768), "output": (768, 3072)}
CASES: dict[str, tuple[str, float, dict[str, Any]]] = {
    "SVD 4x": ("svd", 4, {}),
    "SVD 16x": ("svd", 16, {}),
    "Kronecker 4x": ("kronecker", 3.9, {"m": 0}),
    "Kronecker 16x": ("kronecker", 15, {"m": 0}),
    "Kronecker 4x most terms": ("kronecker", 4, {"m": 0, "terms": 0}),
    "B23 4x": ("b23", 4, {"epochs": 1, "batch_size": 2048}),
    "int8": ("integer", 3.9, {"bits": 8}),
    "int4": ("integer", 7.8, {"bits": 4}),
}
"""Name in the table, method, ratio, and options; those of B23 only shorten the fit."""


def measured(compressed: CompressedMatrix, dense: torch.Tensor, n: int, runs: int) -> tuple:
    """Times of a dense and a compressed product with n vectors."""
    x = torch.randn(n, dense.shape[1], generator=torch.Generator().manual_seed(n))
    return tuple(
        time_functions(
            lambda: functional.linear(x, dense), lambda: compressed.product(x), runs=runs
        )
    )


def main() -> None:
    """Fit every case to every shape and print how its products compare."""
    options = parser(__doc__)
    options.add_argument(
        "--tokens", default="1,128,1024", help="numbers of vectors, separated by commas"
    )
    options.add_argument("--runs", type=int, default=21)
    options.add_argument(
        "--cases", default=",".join(CASES), help="by their names in the table, separated by commas"
    )
    options.add_argument("--shapes", default=",".join(SHAPES), help="separated by commas")
    chosen = options.parse_args()
    tokens = [int(n) for n in chosen.tokens.split(",")]
    shapes = chosen_of(chosen.shapes, SHAPES, options)
    torch.set_num_threads(1)
    table = Table(
        "Linear layers, one thread: operations and time, times the dense layer's",
        "layer",
        "method",
        "ratio",
        *(f"operations, {n}" for n in tokens),
        *(f"time, {n} tokens" for n in tokens),
        *(f"x dense, {n}" for n in tokens),
    )
    for shape in shapes:
        dense = matrix(*SHAPES[shape])
        for label in chosen_of(chosen.cases, CASES, options):
            method, ratio, method_options = CASES[label]
            try:
                compressed = compress(dense, method, ratio, context(len(dense)), **method_options)
            except InfeasibleRatio as error:
                print(f"   {label}: {error}")
                continue
            with torch.inference_mode():
                found = [measured(compressed, dense, n, chosen.runs) for n in tokens]
            operations = [compressed.product_flops(n) / (2 * n * dense.numel()) for n in tokens]
            table.add(
                shape,
                label,
                f"{compressed.ratio:.2f}",
                *(f"{o:.2f}" for o in operations),
                *(ours for _, ours in found),
                *(f"{ours.median / peer.median:.2f}" for peer, ours in found),
            )
    table.print()


if __name__ == "__main__":
    main()
