"""Two sizes of codes over the rows of a matrix, so that a budget of bits is spent."""

from collections.abc import Callable

import torch
from torch import Tensor

from ..formats._base import CompressedMatrix, row_block
from ..formats.row_tiers import RowTiers, Tier, tier_map_bytes
from ..numerics import bits as packing
from ..numerics.matrices import Rows
from ..numerics.weights import smooth_counts
from ._base import Context, largest

Fill = Callable[[CompressedMatrix, Tensor], None]
"""Fits the matrix of a tier to the rows of these ids."""


def most_wide_rows(n_rows: int, budget: int, size: Callable[[int], int]) -> int:
    """Largest number of rows in the wide tier that fits the budget; 0 if none does.

    Args:
        n_rows: of the matrix.
        budget: bits.
        size: bits of both tiers with this many rows in the wide one, without the tiers' map.
    """
    map_bits = 8 * tier_map_bytes(n_rows, 2)
    return largest(lambda n: map_bits + size(n), budget, n_rows - 1)


def row_energies(matrix: Rows) -> Tensor:
    """Squared norms of rows, read block by block: float64 (V,)."""
    n_rows, d = matrix.shape
    energies = torch.empty(n_rows, dtype=torch.float64)
    step = row_block(d)
    for start in range(0, n_rows, step):
        energies[start : start + step] = matrix[start : start + step].double().square().sum(1)
    return energies


def expected_energies(matrix: Rows, context: Context) -> Tensor:
    """Squared norms of rows times smoothed counts, where these are known: float64 (V,)."""
    energies = row_energies(matrix)
    return energies if context.counts is None else energies * smooth_counts(context.counts)


def fill_tiers(
    shape: tuple[int, int], tiers: list[Tier], tier_of_row: Tensor, fill: Fill, padding: int = 0
) -> RowTiers:
    """A matrix whose tiers are fitted one after another.

    Args:
        shape: V and d.
        tiers: the config of the format; each has a row.
        tier_of_row: int64 (V,).
        fill: called with the matrix of each tier and the ids of its rows.
        padding: unused bytes.
    """
    compressed = RowTiers(shape, tiers, padding)
    compressed.tier.copy_(packing.pack(tier_of_row, compressed.tier_width))
    for number, part in enumerate(compressed.parts):
        assert isinstance(part, CompressedMatrix)
        fill(part, (tier_of_row == number).nonzero().flatten())
    compressed.prepare()
    return compressed


def first_tier(order_by: Tensor, n_wide: int) -> Tensor:
    """Tier 0 for the n_wide rows of the largest values (V,), tier 1 for the others: int64 (V,)."""
    tier = torch.ones(len(order_by), dtype=torch.int64)
    tier[order_by.argsort(descending=True, stable=True)[:n_wide]] = 0
    return tier
