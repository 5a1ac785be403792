"""Fast gathers from small tables of short rows, such as centroids or the values of code bytes."""

import torch
from torch import Tensor

from ..numerics import bits

WORDS = {8: torch.float64, 16: torch.complex128}
"""Types as wide as a row of this many bytes: gathering elements is faster than gathering rows."""


def gather(table: Tensor, index: Tensor) -> Tensor:
    """Gather rows of a contiguous float32 table (m, c): index (n,) to (n, c)."""
    word = WORDS.get(4 * table.shape[1])
    if word is None or table.requires_grad:  # no gradient through a view of another type
        return table.index_select(0, index)
    return (
        table.view(word)
        .flatten()
        .index_select(0, index)
        .view(torch.float32)
        .view(-1, table.shape[1])
    )


def values_of_bytes(width: int) -> Tensor:
    """The codes in each possible byte, of 1, 2, 4 or 8 bits: float32 (256, 8 / width)."""
    return bits.unpack_rows(
        torch.arange(256, dtype=torch.uint8)[:, None], width, 8 // width
    ).float()
