"""Blocks of 4-bit normal floats (NF4) with one scale a block, in the layout of bitsandbytes."""

from typing import Any

import torch
from torch import Tensor

from ._base import CompressedMatrix
from ._gathering import gather

LEVELS = (
    -1.0,
    -0.6961928009986877,
    -0.5250730514526367,
    -0.39491748809814453,
    -0.28444138169288635,
    -0.18477343022823334,
    -0.09105003625154495,
    0.0,
    0.07958029955625534,
    0.16093020141124725,
    0.24611230194568634,
    0.33791524171829224,
    0.44070982933044434,
    0.5626170039176941,
    0.7229568362236023,
    1.0,
)
"""Values of the 16 codes (QLoRA, appendix E): quantiles of a normal variable, with an exact 0."""


class NormalFloat(CompressedMatrix):
    """Codes of 4 bits of all V d values in row-major order, and a scale for every `group` of them.

    Value = scale x LEVELS[code]. The first of two codes is in the high half of a byte. Groups run
    over the ends of rows, as in bitsandbytes, if d is no multiple of their size.
    """

    format = "normal_float"

    def __init__(self, shape: tuple[int, int], group: int = 64, scales: str = "float32") -> None:
        super().__init__(shape)
        self.group = group
        self.scales = scales
        self.codes: Tensor
        self.scale: Tensor
        self.table: Tensor
        count = shape[0] * shape[1]
        self.register_buffer("codes", torch.zeros(-(-count // 2), dtype=torch.uint8))
        dtype = {"float32": torch.float32, "float16": torch.float16}[scales]
        self.register_buffer("scale", torch.zeros(-(-count // group), dtype=dtype))
        # The two values of each possible byte.
        byte = torch.arange(256)
        pairs = torch.tensor(LEVELS)[torch.stack([byte >> 4, byte & 15], dim=1)]
        self.register_buffer("table", pairs, persistent=False)

    def config(self) -> dict[str, Any]:
        """See base class."""
        return {"group": self.group, "scales": self.scales}

    def rows(self, ids: Tensor) -> Tensor:
        """See base class."""
        rows, d = self.shape
        if d % 2 == 0:
            in_bytes = self.codes.view(rows, d // 2).index_select(0, ids)
            decoded = gather(self.table, in_bytes.flatten().int()).view(-1, d)
        else:
            value = self._positions(ids)
            in_bytes = self.codes.index_select(0, (value >> 1).flatten()).int()
            decoded = self.table[in_bytes, (value & 1).flatten()].view(-1, d)
        if d % self.group == 0:
            scale = self.scale.view(rows, -1).index_select(0, ids).float()
            return decoded.unflatten(1, (scale.shape[1], -1)).mul_(scale[:, :, None]).flatten(1)
        scale = self.scale.index_select(0, (self._positions(ids) // self.group).flatten())
        return decoded.mul_(scale.float().view(-1, d))

    def _positions(self, ids: Tensor) -> Tensor:
        """Positions of the values of rows among all values: (n, d)."""
        columns = torch.arange(self.shape[1], device=ids.device)
        return ids[:, None] * self.shape[1] + columns

    @property
    def stored_floats(self) -> None:
        """None: codes are not floats."""
        return None
