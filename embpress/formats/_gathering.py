"""Fast gathers from small tables of short rows.

Such as centroids or the values that one byte of codes stands for.
"""

import torch
from torch import Tensor

from ..numerics import bits

WORDS = {8: torch.float64, 16: torch.complex128}
"""Types as wide as a short row of so many bytes.

Gathering single elements is faster than gathering short rows.
"""


def gather(table: Tensor, index: Tensor) -> Tensor:
    """Rows of a contiguous float32 table (m, c), one after another in memory.

    Index (n,) to (n, c).
    """
    word = WORDS.get(4 * table.shape[1])
    if word is None or table.requires_grad:  # no gradient passes through a view as another type
        return table.index_select(0, index)
    return (
        table.view(word)
        .flatten()
        .index_select(0, index)
        .view(torch.float32)
        .view(-1, table.shape[1])
    )


def values_of_bytes(width: int) -> Tensor:
    """The codes of 1, 2, 4 or 8 bits in each byte as float32: (256, 8 / width)."""
    return bits.unpack_rows(
        torch.arange(256, dtype=torch.uint8)[:, None], width, 8 // width
    ).float()
