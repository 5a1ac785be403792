"""Lookups of 1, 128 and 1,024 rows in one thread, by every method.

As multiples of a dense lookup in the same run.
"""

import torch
from torch.nn import functional

from embpress.errors import InfeasibleRatio
from embpress.formats._base import CompressedMatrix
from embpress.methods import compress, names
from embpress.numerics.timing import time_functions

from .common import Table, chosen_of, context, matrix, parser, verdict

SIZES = (1, 128, 1024)
MOST = 3.0
"""Times a dense lookup that the methods with a target may take at the last size."""
CASES: dict[str, tuple[str, float, dict]] = {
    "int8": ("integer", 3.9, {}),
    "int4": ("integer", 7.8, {"bits": 4}),
    "int2": ("integer", 15, {"bits": 2}),
    "GGUF Q4_0": ("gguf", 7.1, {"type": "q4_0"}),
    "int4 groups": ("grouped_integer", 7.1, {"bits": 4}),
    "NF4": ("normal_float", 7.1, {}),
    "PQ": ("pq", 25, {}),
    "Kronecker": ("kronecker", 3.9, {}),
    "T24": ("t24", 10, {}),
    "SVD": ("svd", 10, {}),
    "signs": ("signs", 25, {}),
}
"""Name in the table, method, ratio, and options that only shorten the fit."""
WITH_TARGET = ("PQ", "int8", "Kronecker", "T24")
QUICK = {"b21": {"epochs": 1}, "b23": {"epochs": 1, "batch_size": 2048}}


def cases() -> dict[str, tuple[str, float, dict]]:
    """The cases above, and all other methods at 10x."""
    seen = {method for method, _, _ in CASES.values()}
    return CASES | {name: (name, 10.0, QUICK.get(name, {})) for name in names() if name not in seen}


def measured(compressed: CompressedMatrix, dense: torch.Tensor, n: int, runs: int) -> tuple:
    """Times of a dense and a compressed lookup of n rows, other rows each time."""
    generator = torch.Generator().manual_seed(n)
    ids = iter([torch.randint(len(dense), (n,), generator=generator) for _ in range(2 * runs + 8)])
    return tuple(
        time_functions(
            lambda: functional.embedding(next(ids), dense),
            lambda: compressed.rows(next(ids)),
            runs=runs,
        )
    )


def main() -> None:
    """Fit every method and print how its lookups compare."""
    options = parser(__doc__)
    options.add_argument("--rows", type=int, default=30_522)
    options.add_argument("--dims", type=int, default=768)
    options.add_argument("--runs", type=int, default=101)
    options.add_argument(
        "--methods",
        default=",".join(cases()),
        help="by their names in the table, separated by commas",
    )
    chosen = options.parse_args()
    labels = chosen_of(chosen.methods, cases(), options)
    dense, table = (
        matrix(chosen.rows, chosen.dims),
        Table(
            f"Lookups, {chosen.rows} x {chosen.dims}, one thread: median [quartiles], times a "
            "dense lookup",
            "method",
            *(f"{n} rows" for n in SIZES),
            *(f"x dense at {n}" for n in SIZES),
            "target",
            "",
        ),
    )
    for label, (method, ratio, method_options) in cases().items():
        if label not in labels:
            continue
        try:
            torch.set_num_threads(2)
            compressed = compress(dense, method, ratio, context(chosen.rows), **method_options)
        except InfeasibleRatio as error:
            print(f"   {label}: {error}")
            continue
        torch.set_num_threads(1)
        with torch.inference_mode():
            found = [measured(compressed, dense, n, chosen.runs) for n in SIZES]
        ratios = [ours.median / peer.median for peer, ours in found]
        target = label in WITH_TARGET
        table.add(
            label,
            *(ours for _, ours in found),
            *(f"{r:.2f}" for r in ratios),
            f"<= {MOST:g} at {SIZES[-1]}" if target else "-",
            verdict(ratios[-1] <= MOST) if target else "",
        )
    table.print()


if __name__ == "__main__":
    main()
