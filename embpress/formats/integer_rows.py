"""Rows of small integers, each row with one scale."""

from typing import Any

import torch
from torch import Tensor

from .. import bits
from .base import CompressedMatrix


class IntegerRows(CompressedMatrix):
    """V x d codes of `width` bits in one packed stream, and an fp16 scale a row. Value = scale x (code - 2^(width-1))."""

    format = "integer_rows"

    def __init__(self, shape: tuple[int, int], width: int) -> None:
        super().__init__(shape)
        self.width = width
        self.codes: Tensor
        self.scale: Tensor
        n_bytes = bits.packed_bytes(shape[0] * shape[1], width)
        self.register_buffer("codes", torch.zeros(n_bytes, dtype=torch.uint8))
        self.register_buffer("scale", torch.zeros(shape[0], dtype=torch.float16))

    def config(self) -> dict[str, Any]:
        """See base class."""
        return {"width": self.width}

    def rows(self, ids: Tensor) -> Tensor:
        """See base class."""
        d = self.shape[1]
        if d * self.width % 8 == 0:  # rows are whole bytes, which hold 1 or 2 codes each
            shifts = torch.arange(0, 8, self.width, dtype=torch.uint8)
            in_bytes = self.codes.view(self.shape[0], -1)[ids][:, :, None]
            codes = (in_bytes >> shifts).bitwise_and_((1 << self.width) - 1).flatten(1)
        else:
            codes = bits.gather(self.codes, ids[:, None] * d + torch.arange(d), self.width)
        return codes.float().sub_(1 << (self.width - 1)).mul_(self.scale[ids, None].float())

    @property
    def stored_floats(self) -> None:
        """Codes are no floats: the papers' count does not apply."""
        return None
