"""Dense rows: controls, decoded matrices, and trimmed tables in the type of a model's weights."""

from typing import Any

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
        dtype: torch.dtype | str = torch.float32,
    ) -> None:
        """`dtype` is the type in which the rows are stored, or its name in torch."""
        super().__init__(shape)
        if isinstance(dtype, str):
            dtype = getattr(torch, dtype)
        values = torch.zeros(shape) if weight is None else weight
        self.weight: Tensor
        self.register_buffer("weight", values.to(dtype).contiguous())

    def config(self) -> dict[str, Any]:
        """See base class."""
        if self.weight.dtype == torch.float32:
            return {}
        return {"dtype": str(self.weight.dtype).removeprefix("torch.")}

    @property
    def product_dtype(self) -> torch.dtype:
        """See base class."""
        return self.weight.dtype

    def rows(self, ids: Tensor) -> Tensor:
        """See base class."""
        return self.weight.index_select(0, ids).float()

    def dense(self) -> Tensor:
        """See base class; the stored tensor itself if it is float32."""
        return self.weight.float()

    def product(self, x: Tensor) -> Tensor:
        """See base class."""
        return functional.linear(x, self.weight.to(x.dtype))
