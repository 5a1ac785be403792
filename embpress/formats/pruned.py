"""Some rows are kept, all others are one shared row (vocabulary pruning)."""

from typing import Any

import torch
from torch import Tensor

from ..numerics import bits
from ._factors import Factor, FactoredMatrix


class Pruned(FactoredMatrix):
    """N kept rows, one shared row, and a bitmap of V bits that marks the kept rows."""

    format = "pruned"
    is_kept: Tensor
    position: Tensor

    def __init__(self, shape: tuple[int, int], n_kept: int, dtype: str = "float32") -> None:
        super().__init__(shape, dtype, self.factors(shape, n_kept))
        self.n_kept = n_kept
        self.register_buffer(
            "is_kept", torch.zeros(bits.packed_bytes(shape[0], 1), dtype=torch.uint8)
        )
        # Position of each row in the table; follows from the bitmap.
        self.register_buffer("position", torch.zeros(shape[0], dtype=torch.int32), persistent=False)

    @staticmethod
    def factors(shape: tuple[int, int], n_kept: int) -> dict[str, Factor]:
        """Factors stored beside the bitmap: the kept rows, and last the shared row."""
        return {"table": Factor((n_kept + 1, shape[1]), axis=1)}

    def config(self) -> dict[str, Any]:
        """See base class."""
        return {"n_kept": self.n_kept, "dtype": self.dtype_name}

    def prepare(self) -> None:
        """See base class."""
        ids = torch.arange(self.shape[0], device=self.is_kept.device)
        kept = bits.gather(self.is_kept, ids, 1).bool()
        self.position = torch.where(kept, kept.cumsum(0) - 1, self.n_kept).int()

    def rows(self, ids: Tensor) -> Tensor:
        """See base class."""
        return self.factor_rows("table", self.position.index_select(0, ids))

    def product(self, x: Tensor) -> Tensor:
        """See base class; multiplies by each row of the table once."""
        return (x @ self.factor("table").to(x.dtype).T).index_select(-1, self.position)

    def product_flops(self, n_vectors: int) -> int:
        """See base class."""
        return 2 * n_vectors * (self.n_kept + 1) * self.shape[1]
