"""Rows as blocks of 32 values in the layout of GGUF's types Q8_0, Q5_0 and Q4_0."""

from typing import Any, NamedTuple

import torch
from torch import Tensor

from ._base import CompressedMatrix

BLOCK = 32
"""Values of a block."""


class BlockType(NamedTuple):
    """Layout of a block: an fp16 scale, 4 bytes of fifth bits if the width is 5, then codes."""

    width: int
    """Bits of a code."""
    n_bytes: int
    """Bytes of a block."""


TYPES = {"q8_0": BlockType(8, 34), "q5_0": BlockType(5, 22), "q4_0": BlockType(4, 18)}


class GGUFBlocks(CompressedMatrix):
    """The bytes that ggml stores for the matrix: uint8 (V, ceil(d / 32) x bytes of a block).

    Value = scale x code. The codes of Q8_0 are signed bytes. Those of Q4_0 and Q5_0 are unsigned
    minus 8 and 16: byte j has the low four bits of value j in its low half and those of value j +
    16 in its high half; bit j of the four bytes before is the fifth bit of value j. GGUF refuses
    rows whose length is no multiple of 32; here their last block is filled up with zeros.
    """

    format = "gguf_blocks"

    def __init__(self, shape: tuple[int, int], type: str) -> None:
        super().__init__(shape)
        self.block_type = type
        self.layout = TYPES[type]
        self.blocks: Tensor
        n_bytes = -(-shape[1] // BLOCK) * self.layout.n_bytes
        self.register_buffer("blocks", torch.zeros(shape[0], n_bytes, dtype=torch.uint8))

    def config(self) -> dict[str, Any]:
        """See base class."""
        return {"type": self.block_type}

    def rows(self, ids: Tensor) -> Tensor:
        """See base class."""
        blocks = self.blocks.index_select(0, ids).unflatten(1, (-1, self.layout.n_bytes))
        scale = blocks[:, :, :2].contiguous().view(torch.float16).float()
        decoded = self._codes(blocks[:, :, 2:]).mul_(scale)
        return decoded.flatten(1)[:, : self.shape[1]]

    def _codes(self, packed: Tensor) -> Tensor:
        """Codes of blocks: bytes after the scale, uint8 (n, blocks, bytes) to float32 (.., 32)."""
        if self.layout.width == 8:
            return packed.contiguous().view(torch.int8).float()
        nibbles = packed[:, :, -BLOCK // 2 :]
        codes = torch.cat([nibbles & 15, nibbles >> 4], dim=2)
        if self.layout.width == 5:
            shifts = torch.arange(8, dtype=torch.uint8, device=packed.device)
            fifth = (packed[:, :, :4, None] >> shifts & 1).flatten(2)
            codes |= fifth << 4
        return codes.float().sub_(1 << (self.layout.width - 1))

    @property
    def stored_floats(self) -> None:
        """None: codes are not floats."""
        return None
