"""Rows split into subvectors, each a code of its own codebook (product quantization)."""

from typing import Any

import torch
from torch import Tensor

from ..numerics import bits
from ._factors import Factor, FactoredMatrix
from ._gathering import gather


class ProductCodes(FactoredMatrix):
    """M codes of `width` bits per row, padded to whole bytes, and codebooks (M, 2^width d/M).

    A row is the concatenation of its centroids, with `rotated` multiplied by a rotation (d, d).
    """

    format = "product_codes"
    codes: Tensor
    table: Tensor
    offset: Tensor

    def __init__(
        self,
        shape: tuple[int, int],
        subspaces: int,
        width: int,
        rotated: bool = False,
        dtype: str = "float32",
    ) -> None:
        super().__init__(shape, dtype, self.factors(shape, subspaces, width, rotated))
        self.subspaces = subspaces
        self.width = width
        self.rotated = rotated
        d = shape[1]
        n_bytes = bits.packed_bytes(subspaces, width)
        self.register_buffer("codes", torch.zeros(shape[0], n_bytes, dtype=torch.uint8))
        # All codebooks as one float32 table of centroids, and the position of each subspace in it.
        self.register_buffer(
            "table", torch.zeros(subspaces << width, d // subspaces), persistent=False
        )
        self.register_buffer(
            "offset", torch.arange(subspaces, dtype=torch.int32) << width, persistent=False
        )

    @staticmethod
    def factors(
        shape: tuple[int, int], subspaces: int, width: int, rotated: bool
    ) -> dict[str, Factor]:
        """Factors stored beside the codes."""
        factors = {"codebook": Factor((subspaces, (shape[1] // subspaces) << width), axis=1)}
        return factors | {"rotation": Factor((shape[1], shape[1]), axis=1)} if rotated else factors

    def config(self) -> dict[str, Any]:
        """See base class."""
        return {
            "subspaces": self.subspaces,
            "width": self.width,
            "rotated": self.rotated,
            "dtype": self.dtype_name,
        }

    def prepare(self) -> None:
        """See base class."""
        self.table = self._centroids()

    def rows(self, ids: Tensor) -> Tensor:
        """See base class."""
        index = (
            bits.unpack_rows(self.codes.index_select(0, ids), self.width, self.subspaces)
            + self.offset
        )
        # While the codebook is trained, the table is out of date.
        table = self._centroids() if "codebook" in self._parameters else self.table
        decoded = gather(table, index.flatten()).view(-1, self.shape[1])
        return decoded @ self.factor("rotation") if self.rotated else decoded

    def decode_flops(self, n_rows: int) -> int:
        """See base class."""
        return 2 * n_rows * self.shape[1] ** 2 if self.rotated else 0

    def _centroids(self) -> Tensor:
        """All codebooks as one table, (M 2^width, d/M)."""
        return self.factor("codebook").view(self.subspaces << self.width, -1)

    @property
    def stored_floats(self) -> None:
        """None: codes are not floats."""
        return None
