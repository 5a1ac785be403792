"""Rows as sums of scaled signs in a rotated space: row = (sum_k scale_k sign_k) R."""

from typing import Any

import torch
from torch import Tensor

from ..numerics import bits
from ._gathering import gather, values_of_bytes
from ._rotated_rows import RotatedRows


class RotatedSigns(RotatedRows):
    """K stages of d bits per row (1: +1, 0: -1), each padded to whole bytes, with fp16 scales.

    There is one scale per row and stage. The rotation is not stored: it follows from the seed,
    which is part of the format's config.
    """

    format = "rotated_signs"

    def __init__(self, shape: tuple[int, int], stages: int, seed: int = 0) -> None:
        super().__init__(shape, seed)
        self.stages = stages
        self.codes: Tensor
        self.scale: Tensor
        self.table: Tensor
        self.register_buffer(
            "codes",
            torch.zeros(shape[0], stages, bits.packed_bytes(shape[1], 1), dtype=torch.uint8),
        )
        self.register_buffer("scale", torch.zeros(shape[0], stages, dtype=torch.float16))
        # The eight signs of each possible byte.
        self.register_buffer("table", values_of_bytes(1).mul_(2).sub_(1), persistent=False)

    def config(self) -> dict[str, Any]:
        """See base class."""
        return {"stages": self.stages, "seed": self.seed}

    def rotated_rows(self, ids: Tensor) -> Tensor:
        """See base class."""
        codes = self.codes.index_select(0, ids)
        signs = gather(self.table, codes.flatten().int()).view(
            len(ids), self.stages, codes.shape[2] * 8
        )
        scale = self.scale.index_select(0, ids).float()
        total = signs[:, 0].mul(scale[:, :1])
        for k in range(1, self.stages):
            total.addcmul_(signs[:, k], scale[:, k, None])
        return total[:, : self.shape[1]]
