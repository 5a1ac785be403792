"""Pack unsigned integers of any width into bytes, and read single ones back without unpacking the rest."""

import torch
from torch import Tensor

BLOCK = 1 << 18
"""Values packed at once; a multiple of 8, so that blocks end on whole bytes. Bounds memory at BLOCK x width x 9 bytes."""


def width_for(n_values: int) -> int:
    """Bits that tell `n_values` different values apart; at least 1."""
    return max(1, (n_values - 1).bit_length())


def packed_bytes(count: int, width: int) -> int:
    """Bytes that `pack` makes of `count` values of `width` bits."""
    return (count * width + 7) // 8


def pack(values: Tensor, width: int) -> Tensor:
    """Pack integers in [0, 2**width) into a little-endian bit stream.

    Args:
        values: integers, any shape, read in row-major order.
        width: bits of a value, 1 to 32.

    Returns:
        uint8 tensor of `packed_bytes(values.numel(), width)` bytes.
    """
    flat = values.reshape(-1)
    if flat.numel() and (int(flat.min()) < 0 or int(flat.max()) >> width):
        raise ValueError(f"values do not fit {width} bits")
    parts = [_pack_block(block, width) for block in flat.split(BLOCK)]
    return torch.cat(parts) if parts else torch.empty(0, dtype=torch.uint8)


def _pack_block(values: Tensor, width: int) -> Tensor:
    """Bytes of one block; only the last block of a stream may need padding."""
    stream = ((values.to(torch.int64)[:, None] >> torch.arange(width)) & 1).to(torch.uint8).reshape(-1)
    stream = torch.nn.functional.pad(stream, (0, -stream.numel() % 8)).view(-1, 8)
    return (stream << torch.arange(8, dtype=torch.uint8)).sum(1, dtype=torch.uint8)


def gather(packed: Tensor, index: Tensor, width: int) -> Tensor:
    """Values at positions `index` (any shape) of a stream made by `pack`, as int64."""
    start = index.to(torch.int64) * width
    first = start >> 3
    last = packed.numel() - 1
    value = torch.zeros_like(first)
    # A value of up to 32 bits touches at most 5 bytes.
    for k in range((width + 14) // 8):
        value |= packed[(first + k).clamp_max(last)].to(torch.int64) << (8 * k)
    return (value >> (start & 7)) & ((1 << width) - 1)
