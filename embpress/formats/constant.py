"""One row for all ids (control `mean_row`)."""

import torch
from torch import Tensor

from ._base import CompressedMatrix


class ConstantRows(CompressedMatrix):
    """d floats."""

    format = "constant"

    def __init__(self, shape: tuple[int, int], row: Tensor | None = None) -> None:
        super().__init__(shape)
        self.row: Tensor
        self.register_buffer("row", torch.zeros(shape[1]) if row is None else row.float())

    def rows(self, ids: Tensor) -> Tensor:
        """See base class."""
        return self.row.expand(len(ids), -1)
