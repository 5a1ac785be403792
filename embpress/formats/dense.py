"""Dense rows, as they are: what the controls store."""

import torch
from torch import Tensor

from ._base import CompressedMatrix


class DenseRows(CompressedMatrix):
    """All V x d floats. `rows(ids)` is a gather."""

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
