"""Fits against peers: scikit-learn, torch.linalg.svd, the papers' recipes, and the products that a
closed form consists of.

Products are timed in float32, in the same run, by the faster of the machine's libraries (numpy's).
"""

import time
from collections.abc import Callable
from typing import Any

import numpy as np
import torch
from sklearn.manifold._locally_linear import barycenter_weights
from sklearn.neighbors import NearestNeighbors
from torch import Tensor

from embpress.fidelity.reconstruction import reconstruction
from embpress.methods import compress, method_class
from embpress.methods.sparse_coding import select_kept_rows
from embpress.numerics.timing import time_functions

from .common import Table, chosen_of, context, matrix, parser, verdict

RATIO = 10.0
METHODS = ("t24", "svd", "b21", "b23", "kronecker")
PAPERS: dict[str, dict[str, Any]] = {
    "b21": {"start": "random", "batch_size": 32, "epochs": 30, "decay": "steps"},
    "b23": {"start": "random", "batch_size": 32, "epochs": 30, "decay": "steps"},
}
BLOCK = 8192


def fit(dense: Tensor, method: str, **options: Any) -> Callable[[], object]:
    """A fit of ours, to be timed."""
    return lambda: compress(dense, method, RATIO, context(len(dense)), **options)


def scikit_mixes(dense: Tensor) -> Callable[[], object]:
    """T24 by scikit-learn: neighbours by cosine among the same kept rows.

    And barycentre weights.
    """
    sizes = method_class("t24")().plan((dense.shape[0], dense.shape[1]), RATIO).sizes
    kept = select_kept_rows(context(len(dense)).counts, (), sizes["n_kept"])  # type: ignore[arg-type]
    anchors = dense[kept].numpy()
    rare = dense[~kept].numpy()

    def run() -> np.ndarray:
        search = NearestNeighbors(
            n_neighbors=sizes["neighbours"], metric="cosine", algorithm="brute"
        ).fit(anchors)
        return barycenter_weights(
            rare, anchors, search.kneighbors(rare, return_distance=False), reg=1e-3
        )

    return run


def products(dense: Tensor, method: str) -> Callable[[], object]:
    """The large products that a closed form cannot do without, at their own shapes."""
    rows, d = dense.shape
    sizes = method_class(method)().plan((rows, d), RATIO).sizes
    left = dense.numpy()
    if method == "t24":
        kept = np.ascontiguousarray(left[: sizes["n_kept"]])
        blocks = [left[start : start + BLOCK] for start in range(len(kept), rows, BLOCK)]
        return lambda: [block @ kept.T for block in blocks]
    if method == "kronecker":
        left = left.reshape(-1, sizes["n"])
    basis = np.ones(
        (left.shape[1], sizes["rank" if method == "svd" else "terms"]), dtype=np.float32
    )
    return lambda: (left.T @ left, left @ basis)


def autoencoder(table: Table, dense: Tensor, method: str) -> None:
    """A row of the table: both recipes once, with what they reach."""
    times = []
    errors = []
    for options in ({}, PAPERS[method]):
        start = time.perf_counter()
        compressed = compress(dense, method, RATIO, context(len(dense)), **options)
        times.append(time.perf_counter() - start)
        errors.append(1 - reconstruction(dense, compressed, context(len(dense)).counts).mean_cosine)
    speedup = times[1] / times[0]
    as_good = errors[0] <= errors[1]
    table.add(
        f"{method} ({len(dense)} rows)",
        f"{times[0]:.1f} s, 1 - cosine {errors[0]:.4f}",
        f"30 epochs at batch 32: {times[1]:.1f} s, 1 - cosine {errors[1]:.4f}",
        f"{speedup:.1f}x",
        ">= 5x, as good",
        verdict(speedup >= 5 and as_good),
    )


def main() -> None:
    """Print the table of fits."""
    options = parser(__doc__)
    options.add_argument("--rows", type=int, default=30_522)
    options.add_argument("--dims", type=int, default=768)
    options.add_argument("--runs", type=int, default=3)
    options.add_argument(
        "--ae-rows",
        type=int,
        default=4096,
        help="rows of the autoencoders' table: 30 epochs are long",
    )
    options.add_argument("--methods", default=",".join(METHODS))
    chosen = options.parse_args()
    methods = chosen_of(chosen.methods, METHODS, options)
    dense = matrix(chosen.rows, chosen.dims)
    table = Table(
        f"Fits at 10x, {chosen.rows} x {chosen.dims}: median [quartiles]",
        "fit",
        "ours",
        "peer",
        "ratio",
        "target",
        "",
    )
    peers = {
        "t24": ("scikit-learn", scikit_mixes(dense), 5),
        "svd": ("torch.linalg.svd", lambda: torch.linalg.svd(dense, full_matrices=False), 4),
    }
    for method, (name, peer, least) in peers.items():
        if method in methods:
            ours, other = time_functions(fit(dense, method), peer, runs=chosen.runs, warm=False)
            ratio = other.median / ours.median
            table.add(
                method,
                ours,
                f"{name} {other}",
                f"{ratio:.1f}x faster",
                f">= {least}x",
                verdict(ratio >= least),
            )
    for method in ("svd", "t24", "kronecker"):
        if method in methods:
            ours, other = time_functions(
                fit(dense, method), products(dense, method), runs=chosen.runs
            )
            ratio = ours.median / other.median
            table.add(
                method,
                ours,
                f"its products {other}",
                f"{ratio:.1f}x the time",
                "<= 2x",
                verdict(ratio <= 2),
            )
    for method in PAPERS:
        if method in methods:
            autoencoder(table, dense[: chosen.ae_rows], method)
    table.print()


if __name__ == "__main__":
    main()
