"""Pack codes of rows that start on bytes."""

import torch
from torch import Tensor


def pack_rows(values: Tensor, width: int) -> Tensor:
    """Pack (n, m) integers of up to 24 bits, row by row: uint8 (n, bytes), least bits first."""
    bits = (values.long()[:, :, None] >> torch.arange(width)) & 1
    bits = torch.nn.functional.pad(bits.flatten(1), (0, -values.shape[1] * width % 8))
    weights = 2 ** torch.arange(8)
    return (bits.unflatten(1, (-1, 8)) * weights).sum(2).to(torch.uint8)
