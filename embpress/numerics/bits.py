"""Pack unsigned integers of any width into bytes, with random access to single values."""

import torch
from torch import Tensor

BLOCK = 1 << 18
"""Values packed at once, a multiple of 8 so that blocks end on whole bytes.

Bounds memory to BLOCK x width x 9 bytes.
"""


def width_for(n_values: int) -> int:
    """Bits of a code for `n_values` different values, at least 1."""
    return max(1, (n_values - 1).bit_length())


def packed_bytes(count: int, width: int) -> int:
    """Bytes that `pack` returns for `count` values of `width` bits."""
    return (count * width + 7) // 8


def pack(values: Tensor, width: int) -> Tensor:
    """Pack integers in [0, 2**width) into a little-endian bit stream.

    Args:
        values: integers, any shape, read in row-major order.
        width: bits of a value, 1 to 32.

    Returns:
        uint8 tensor (packed_bytes(values.numel(), width),).

    Raises:
        ValueError: if a value is out of range.
    """
    flat = values.reshape(-1)
    if flat.numel() and (int(flat.min()) < 0 or int(flat.max()) >> width):
        raise ValueError(f"values do not fit {width} bits")
    parts = [_pack_block(block, width) for block in flat.split(BLOCK)]
    return torch.cat(parts) if parts else torch.empty(0, dtype=torch.uint8, device=flat.device)


def _pack_block(values: Tensor, width: int) -> Tensor:
    """Pack one block; only the last block of a stream may need padding."""
    if 8 % width == 0:  # A byte holds a whole number of values: no need to expand them into bits.
        values = torch.nn.functional.pad(values.to(torch.uint8), (0, -len(values) % (8 // width)))
        shifts = torch.arange(0, 8, width, dtype=torch.uint8, device=values.device)
        return (values.view(-1, 8 // width) << shifts).sum(1, dtype=torch.uint8)
    positions = torch.arange(width, device=values.device)
    stream = ((values.to(torch.int64)[:, None] >> positions) & 1).to(torch.uint8).reshape(-1)
    stream = torch.nn.functional.pad(stream, (0, -stream.numel() % 8)).view(-1, 8)
    shifts = torch.arange(8, dtype=torch.uint8, device=values.device)
    return (stream << shifts).sum(1, dtype=torch.uint8)


def gather(packed: Tensor, index: Tensor, width: int) -> Tensor:
    """Unpack the values at positions `index` (any shape) of a stream made by `pack`, as int64."""
    start = index.to(torch.int64).flatten() * width
    first = start >> 3
    value = packed.index_select(0, first).to(torch.int64)
    # A value of up to 32 bits touches at most 5 bytes.
    last = packed.numel() - 1
    for k in range(1, (width + 14) // 8):
        value.bitwise_or_(
            packed.index_select(0, (first + k).clamp_max_(last)).to(torch.int64) << (8 * k)
        )
    return (value >> (start & 7)).bitwise_and_((1 << width) - 1).view(index.shape)


def pack_rows(values: Tensor, width: int) -> Tensor:
    """Pack (n, m) integers in [0, 2**width) row by row: uint8 (n, packed_bytes(m, width)).

    The width is at most 8. Every row starts on a byte, so that rows are gathered and unpacked
    without arithmetic on positions; at most 7 bits a row are padding.
    """
    padded = torch.nn.functional.pad(values, (0, -values.shape[1] % 8))
    return pack(padded, width).view(len(values), -1)[:, : packed_bytes(values.shape[1], width)]


def unpack_rows(packed: Tensor, width: int, count: int) -> Tensor:
    """Unpack rows made by `pack_rows`: (n, count).

    uint8 where a byte holds a whole number of values, else int64.
    """
    if width == 8:
        return packed
    if 8 % width == 0:
        shifts = torch.arange(0, 8, width, dtype=torch.uint8, device=packed.device)
        return (packed[:, :, None] >> shifts).bitwise_and_((1 << width) - 1).flatten(1)[:, :count]
    # 8 values take `width` bytes, which fit one little-endian int64.
    groups = (count + 7) // 8
    padded = torch.nn.functional.pad(packed, (0, groups * width - packed.shape[1])).view(
        -1, groups, width
    )
    words = torch.nn.functional.pad(padded, (0, 8 - width)).view(torch.int64)
    shifts = torch.arange(0, 8 * width, width, device=packed.device)
    return (words >> shifts).bitwise_and_((1 << width) - 1).flatten(1)[:, :count]
