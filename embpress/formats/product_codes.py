"""Rows cut into pieces, each a code of a codebook of its own: product quantisation's layout."""

from typing import Any

import torch
from torch import Tensor

from .. import bits
from .base import CompressedMatrix
from .gathering import gather


class ProductCodes(CompressedMatrix):
    """M codes of `width` bits a row, each row in whole bytes, and codebooks (M, 2^width, d/M).

    With a rotation (d, d), row = (its centroids side by side) @ rotation.
    """

    format = "product_codes"

    def __init__(
        self, shape: tuple[int, int], subspaces: int, width: int, rotated: bool = False, dtype: str = "float32"
    ) -> None:
        super().__init__(shape)
        self.subspaces, self.width, self.dtype_name = subspaces, width, dtype
        kind, d = getattr(torch, dtype), shape[1]
        self.codes: Tensor
        self.codebook: Tensor
        self.rotation: Tensor | None
        self.table: Tensor
        self.offset: Tensor
        n_bytes = bits.packed_bytes(subspaces, width)
        self.register_buffer("codes", torch.zeros(shape[0], n_bytes, dtype=torch.uint8))
        self.register_buffer("codebook", torch.zeros(subspaces, 1 << width, d // subspaces, dtype=kind))
        self.register_buffer("rotation", torch.zeros(d, d, dtype=kind) if rotated else None)
        # All codebooks as one float32 table of centroids, and where each subspace's begin.
        self.register_buffer("table", torch.zeros(subspaces << width, d // subspaces), persistent=False)
        self.register_buffer("offset", torch.arange(subspaces, dtype=torch.int32) << width, persistent=False)

    def config(self) -> dict[str, Any]:
        """See base class."""
        rotated = self.rotation is not None
        return {"subspaces": self.subspaces, "width": self.width, "rotated": rotated, "dtype": self.dtype_name}

    def prepare(self) -> None:
        """See base class."""
        self.table = self.codebook.float().flatten(0, 1).contiguous()

    def rows(self, ids: Tensor) -> Tensor:
        """See base class."""
        index = bits.unpack_rows(self.codes.index_select(0, ids), self.width, self.subspaces) + self.offset
        decoded = gather(self.table, index.flatten()).view(-1, self.shape[1])
        return decoded if self.rotation is None else decoded @ self.rotation.float()

    @property
    def stored_floats(self) -> None:
        """Codes are no floats: the papers' count does not apply."""
        return None
