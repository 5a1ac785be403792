"""Some rows kept, each other row a weighted sum of a few of them: T24's layout."""

from typing import Any

import torch
from torch import Tensor

from .. import bits
from .base import CompressedMatrix


class Mixture(CompressedMatrix):
    """N kept rows, a bitmap of V bits that tells which, and for each other row k packed indices and k weights."""

    format = "mixture"

    def __init__(self, shape: tuple[int, int], n_kept: int, neighbours: int, dtype: str = "float32") -> None:
        super().__init__(shape)
        self.n_kept, self.neighbours, self.dtype_name = n_kept, neighbours, dtype
        kind, n_mixed = getattr(torch, dtype), shape[0] - n_kept
        self.index_width = bits.width_for(n_kept)
        self.kept: Tensor
        self.is_kept: Tensor
        self.index: Tensor
        self.weight: Tensor
        self.position: Tensor
        n_bytes = bits.packed_bytes(n_mixed * neighbours, self.index_width)
        self.register_buffer("kept", torch.zeros(n_kept, shape[1], dtype=kind))
        self.register_buffer("is_kept", torch.zeros(bits.packed_bytes(shape[0], 1), dtype=torch.uint8))
        self.register_buffer("index", torch.zeros(n_bytes, dtype=torch.uint8))
        self.register_buffer("weight", torch.zeros(n_mixed, neighbours, dtype=kind))
        # Row i's place among the kept rows (>= 0), or ~place among the mixed ones (< 0); follows from the bitmap.
        self.register_buffer("position", torch.zeros(shape[0], dtype=torch.int32), persistent=False)

    def config(self) -> dict[str, Any]:
        """See base class."""
        return {"n_kept": self.n_kept, "neighbours": self.neighbours, "dtype": self.dtype_name}

    def prepare(self) -> None:
        """See base class."""
        kept = bits.gather(self.is_kept, torch.arange(self.shape[0]), 1).bool()
        self.position = torch.where(kept, kept.cumsum(0) - 1, -(~kept).cumsum(0)).int()

    def rows(self, ids: Tensor) -> Tensor:
        """See base class."""
        position = self.position[ids].long()
        decoded = self.kept[position.clamp_min(0)].float()
        mixed = position < 0
        if mixed.any():
            place = ~position[mixed]
            columns = torch.arange(self.neighbours)
            index = bits.gather(self.index, place[:, None] * self.neighbours + columns, self.index_width)
            bags = torch.nn.functional.embedding_bag(
                index, self.kept.float(), mode="sum", per_sample_weights=self.weight[place].float()
            )
            decoded[mixed] = bags
        return decoded
