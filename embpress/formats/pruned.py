"""Some rows kept, all others one shared row: a pruned vocabulary's layout."""

from typing import Any

import torch
from torch import Tensor

from ..numerics import bits
from ._factors import Factor, FactoredMatrix


class Pruned(FactoredMatrix):
    """N kept rows, the row that stands for all others.

    And a bitmap of V bits that tells which are kept.
    """

    format = "pruned"
    is_kept: Tensor
    position: Tensor

    def __init__(self, shape: tuple[int, int], n_kept: int, dtype: str = "float32") -> None:
        super().__init__(shape, dtype, self.factors(shape, n_kept))
        self.n_kept = n_kept
        self.register_buffer(
            "is_kept", torch.zeros(bits.packed_bytes(shape[0], 1), dtype=torch.uint8)
        )
        # Each row's place in the table; follows from the bitmap.
        self.register_buffer("position", torch.zeros(shape[0], dtype=torch.int32), persistent=False)

    @staticmethod
    def factors(shape: tuple[int, int], n_kept: int) -> dict[str, Factor]:
        """What is stored beside the bitmap: the kept rows, the last of them the shared one."""
        return {"table": Factor((n_kept + 1, shape[1]), axis=1)}

    def config(self) -> dict[str, Any]:
        """See base class."""
        return {"n_kept": self.n_kept, "dtype": self.dtype_name}

    def prepare(self) -> None:
        """See base class."""
        kept = bits.gather(self.is_kept, torch.arange(self.shape[0]), 1).bool()
        self.position = torch.where(kept, kept.cumsum(0) - 1, self.n_kept).int()

    def rows(self, ids: Tensor) -> Tensor:
        """See base class."""
        return self.factor_rows("table", self.position.index_select(0, ids))

    def product(self, x: Tensor) -> Tensor:
        """See base class; one product a row of the table, of which the shared one's is copied."""
        return (x @ self.factor("table").to(x.dtype).T).index_select(-1, self.position)

    def product_flops(self, n_vectors: int) -> int:
        """See base class."""
        return 2 * n_vectors * (self.n_kept + 1) * self.shape[1]
