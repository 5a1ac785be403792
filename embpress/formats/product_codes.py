"""Rows split into subvectors, each a code of its own codebook (product quantization)."""

from typing import Any

import torch
from torch import Tensor

from ..numerics import bits
from ._factors import Factor, FactoredMatrix
from ._gathering import gather


class ProductCodes(FactoredMatrix):
    """M codes of `width` bits per row, padded to whole bytes, and codebooks (M, 2^width d/M).

    A row is the concatenation of its centroids, with `rotated` multiplied by a rotation (d, d). If
    M does not divide d, the first d mod M subspaces have a column more than the others, whose
    centroids are the second factor `codebook_short`.
    """

    format = "product_codes"
    codes: Tensor
    table: Tensor
    offset: Tensor
    column: Tensor | None

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
        # Shorter centroids are filled up with a zero.
        longest = -(-d // subspaces)
        self.register_buffer("table", torch.zeros(subspaces << width, longest), persistent=False)
        self.register_buffer(
            "offset", torch.arange(subspaces, dtype=torch.int32) << width, persistent=False
        )
        # Positions of the columns among those of all gathered centroids, without the zeros.
        n_long = d % subspaces
        end = n_long * longest
        short = torch.arange(subspaces - n_long)[:, None] * longest + torch.arange(longest - 1)
        column = torch.cat([torch.arange(end), end + short.flatten()]) if n_long else None
        self.register_buffer("column", column, persistent=False)

    @staticmethod
    def factors(
        shape: tuple[int, int], subspaces: int, width: int, rotated: bool
    ) -> dict[str, Factor]:
        """Factors stored beside the codes."""
        columns, n_long = divmod(shape[1], subspaces)
        if n_long:
            factors = {
                "codebook": Factor((n_long, (columns + 1) << width), axis=1),
                "codebook_short": Factor((subspaces - n_long, columns << width), axis=1),
            }
        else:
            factors = {"codebook": Factor((subspaces, columns << width), axis=1)}
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
        self.table = self.centroids()

    def rows(self, ids: Tensor) -> Tensor:
        """See base class."""
        index = (
            bits.unpack_rows(self.codes.index_select(0, ids), self.width, self.subspaces)
            + self.offset
        )
        # While the codebook is trained, the table is out of date.
        table = self.centroids() if "codebook" in self._parameters else self.table
        decoded = gather(table, index.flatten()).view(len(ids), self.subspaces * table.shape[1])
        if self.column is not None:
            decoded = decoded.index_select(1, self.column)
        return decoded @ self.factor("rotation") if self.rotated else decoded

    def decode_flops(self, n_rows: int) -> int:
        """See base class."""
        return 2 * n_rows * self.shape[1] ** 2 if self.rotated else 0

    def centroids(self) -> Tensor:
        """All codebooks as one table, (M 2^width, d/M rounded up)."""
        columns, n_long = divmod(self.shape[1], self.subspaces)
        if not n_long:
            return self.factor("codebook").view(self.subspaces << self.width, -1)
        short = self.factor("codebook_short").view(-1, columns)
        padded = torch.nn.functional.pad(short, (0, 1))
        return torch.cat([self.factor("codebook").view(-1, columns + 1), padded])

    @property
    def stored_floats(self) -> None:
        """None: codes are not floats."""
        return None
