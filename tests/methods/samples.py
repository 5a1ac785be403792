"""Matrices that every method is tried on."""

import torch

from embpress.errors import InfeasibleRatio
from embpress.fidelity.reconstruction import reconstruction
from embpress.methods import method_class
from embpress.methods._base import Context

CONTROLS = ("identity", "random_rows", "mean_row")
RATIOS = [1.5, 3.9, 4, 7, 10, 25]
DTYPES = ["float32", "float16", "int8", "int4"]
QUICK = {"direction_autoencoder": {"epochs": 1}, "offline_autoencoder": {"epochs": 1}}
"""Options where only sizes and layout matter."""
AT_MOST_4_BITS = ("bitshift_trellis", "e8_lattice")
"""Codes of at most 4 bits a value: below 7x all rows are equally wide, whatever their weights."""


def matrix_of(n_rows: int, d: int, seed: int = 0) -> torch.Tensor:
    """Low rank plus noise, with a mean and rows of very different norms, like an embedding."""
    generator = torch.Generator().manual_seed(seed)
    low = torch.randn(n_rows, max(2, d // 8), generator=generator) @ torch.randn(
        max(2, d // 8), d, generator=generator
    )
    noise = torch.randn(n_rows, d, generator=generator)
    return 0.02 * (low + noise + 0.5) * torch.rand(n_rows, 1, generator=generator).add(0.3)


def context_of(n_rows: int, seed: int = 0) -> Context:
    """Zipf-like counts in a shuffled order, and two special tokens among the rare ones."""
    order = torch.randperm(n_rows, generator=torch.Generator().manual_seed(9))
    counts = (100_000 / (order + 1)).long()
    return Context(counts, special_ids=(n_rows // 2, n_rows - 1), seed=seed)


def fitted(name: str, n_rows: int, d: int, ratio: float, seed: int = 0, **options):
    """A method's plan and its fit, or InfeasibleRatio."""
    method = method_class(name)(**options)
    plan = method.plan((n_rows, d), ratio)
    compressed = method.fit(matrix_of(n_rows, d), plan, context_of(n_rows, seed))
    compressed.prepare()
    return plan, compressed


def feasible(name, n_rows=600, d=48, ratios=RATIOS):
    """The first of `ratios` that the method reaches."""
    for ratio in ratios:
        try:
            method_class(name)().plan((n_rows, d), ratio)
            return ratio
        except InfeasibleRatio:
            continue
    raise AssertionError(f"{name} reaches none of {ratios}")


def cosine(matrix, compressed):
    """Mean cosine of all rows."""
    return reconstruction(matrix, compressed, context_of(len(matrix)).counts).mean_cosine
