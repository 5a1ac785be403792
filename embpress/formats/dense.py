"""Dense float32 rows (controls `identity` and `random_rows`)."""

import torch
from torch import Tensor

from ._base import CompressedMatrix


class DenseRows(CompressedMatrix):
    """V x d floats."""

    format = "dense"

    def __init__(self, shape: tuple[int, int], weight: Tensor | None = None) -> None:
        super().__init__(shape)
        self.weight: Tensor
        self.register_buffer(
            "weight", torch.zeros(shape) if weight is None else weight.float().contiguous()
        )

    def rows(self, ids: Tensor) -> Tensor:
        """See base class."""
        return self.weight.index_select(0, ids)
