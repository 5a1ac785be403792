"""Dense float32 rows (controls `identity` and `random_rows`, and matrices decoded to be used)."""

import torch
from torch import Tensor
from torch.nn import functional

from ._base import CompressedMatrix


class DenseRows(CompressedMatrix):
    """V x d floats."""

    format = "dense"

    def __init__(
        self,
        shape: tuple[int, int],
        weight: Tensor | None = None,
        dtype: torch.dtype = torch.float32,
    ) -> None:
        """A type other than float32 is of a decoded matrix, which is never stored."""
        super().__init__(shape)
        self.weight: Tensor
        self.register_buffer(
            "weight", torch.zeros(shape) if weight is None else weight.to(dtype).contiguous()
        )

    @property
    def product_dtype(self) -> torch.dtype:
        """See base class."""
        return self.weight.dtype

    def rows(self, ids: Tensor) -> Tensor:
        """See base class."""
        return self.weight.index_select(0, ids)

    def dense(self) -> Tensor:
        """See base class; the stored tensor itself."""
        return self.weight

    def product(self, x: Tensor) -> Tensor:
        """See base class."""
        return functional.linear(x, self.weight.to(x.dtype))
