"""Some rows kept, all others one shared row: a pruned vocabulary's layout."""

from typing import Any

import torch
from torch import Tensor

from .. import bits
from .base import CompressedMatrix


class Pruned(CompressedMatrix):
    """N kept rows, the row that stands for all others, and a bitmap of V bits that tells which are kept."""

    format = "pruned"

    def __init__(self, shape: tuple[int, int], n_kept: int, dtype: str = "float32") -> None:
        super().__init__(shape)
        self.n_kept, self.dtype_name = n_kept, dtype
        self.table: Tensor
        self.is_kept: Tensor
        self.position: Tensor
        # The last row is the shared one.
        self.register_buffer("table", torch.zeros(n_kept + 1, shape[1], dtype=getattr(torch, dtype)))
        self.register_buffer("is_kept", torch.zeros(bits.packed_bytes(shape[0], 1), dtype=torch.uint8))
        # Each row's place in the table; follows from the bitmap.
        self.register_buffer("position", torch.zeros(shape[0], dtype=torch.int32), persistent=False)

    def config(self) -> dict[str, Any]:
        """See base class."""
        return {"n_kept": self.n_kept, "dtype": self.dtype_name}

    def prepare(self) -> None:
        """See base class."""
        kept = bits.gather(self.is_kept, torch.arange(self.shape[0]), 1).bool()
        self.position = torch.where(kept, kept.cumsum(0) - 1, self.n_kept).int()

    def rows(self, ids: Tensor) -> Tensor:
        """See base class."""
        return self.table.index_select(0, self.position.index_select(0, ids)).float()

    def product(self, x: Tensor) -> Tensor:
        """See base class; one product a row of the table, of which the shared one's is copied."""
        return (x @ self.table.to(x.dtype).T).index_select(-1, self.position)
