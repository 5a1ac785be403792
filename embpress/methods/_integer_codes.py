"""Rounding of rows to integers with a scale per row or per group of columns."""

from collections.abc import Callable

import torch
from torch import Tensor

from ..formats._base import row_block
from ..formats._factors import check_fp16_range, fp16_scales
from ..formats.integer_rows import IntegerRows, centre
from ..numerics import bits as packing
from ..numerics.matrices import Rows

SCALE_BITS = 16
FULL_RANGE_WIDTH = 4
"""Codes of at least this many bits span all values; narrower ones minimize the squared error."""
SHRINK = [1 - 0.05 * step for step in range(18)]
"""Shares of the full range among which the scale of least squared error is searched."""
REFITS = 3
"""Times that the scale is then solved for given codes, and the codes rounded again."""


def integer_bits(shape: tuple[int, int], width: int, group: int = 0) -> int:
    """Bits that `IntegerRows` without minima stores."""
    n_groups = -(-shape[1] // group) if group else 1
    codes = 8 * packing.packed_bytes(shape[0] * shape[1], width)
    return codes + SCALE_BITS * n_groups * shape[0]


def encode(
    matrix: Rows,
    compressed: IntegerRows,
    progress: Callable[[str], None],
    ids: Tensor | None = None,
) -> None:
    """Fill a matrix of integers without minima.

    Args:
        matrix: read block by block.
        compressed: to be filled.
        progress: called with a message for each block.
        ids: rows of the matrix that are stored, in this order; None for all.

    Raises:
        UserError: if a row is out of the range of fp16 scales.
    """
    rows, d = compressed.shape
    width = compressed.width
    step = row_block(d)
    for start in range(0, rows, step):
        chosen = slice(start, start + step) if ids is None else ids[start : start + step]
        block = split_groups(matrix[chosen].float(), compressed.group or d)
        stop = start + len(block)
        scale = scales(block, width, start if ids is None else ids[start : start + step])
        compressed.store_codes(start, round_codes(block, width, scale).flatten(1)[:, :d])
        compressed.scale[start:stop] = scale.view(len(block), *compressed.scale.shape[1:])
        progress(f"{stop}/{rows} rows of {width} bits")


def scales(block: Tensor, width: int, numbers: int | Tensor) -> Tensor:
    """fp16 scales (n, groups) of values (n, groups, group).

    Args:
        block: the values.
        width: bits of a code.
        numbers: of the rows in errors: the first one's, or (n,).

    Raises:
        UserError: if a scale is out of fp16's range.
    """
    top = 2**width - 1 - centre(width)
    scale = check_fp16_range(fp16_scales(block.abs().amax(2), top), block, numbers)
    return _fit_scale(block, width, scale) if width < FULL_RANGE_WIDTH else scale


def split_groups(rows: Tensor, group: int) -> Tensor:
    """Rows (n, d) as (n, groups, group); a shorter last group repeats its last column."""
    lacking = -rows.shape[1] % group
    if lacking:
        rows = torch.cat([rows, rows[:, -1:].expand(-1, lacking)], dim=1)
    return rows.unflatten(1, (-1, group))


def round_codes(block: Tensor, width: int, scale: Tensor) -> Tensor:
    """Nearest codes of values (n, groups, group) on the grids of fp16 scales (n, groups).

    Codes are floats. Values are divided by the rounded scale, which decodes; a scale of 0 decodes
    every code to 0.
    """
    step = torch.where(scale > 0, scale.float(), 1.0)[:, :, None]
    whole, half = divmod(centre(width), 1)
    # From 4 bits the lowest code is not used, so that the grid is symmetric.
    lowest = int(width >= FULL_RANGE_WIDTH)
    return (block / step).add_(half).round_().add_(whole).clamp_(lowest, 2**width - 1)


def squared_errors(block: Tensor, width: int, scale: Tensor) -> Tensor:
    """Squared error of each group (n, groups) of values (n, groups, group) with fp16 scales."""
    decoded = (round_codes(block, width, scale) - centre(width)) * scale.float()[:, :, None]
    return decoded.sub_(block).square_().sum(2)


def _fit_scale(block: Tensor, width: int, scale: Tensor) -> Tensor:
    """fp16 scales (n, groups) of least squared error, from those of the full range.

    They are searched among shrunk ranges, then solved for their own codes while that helps.
    """
    full_scale = scale.float()
    best = torch.full_like(full_scale, torch.inf)

    def keep_better(new_scale: Tensor) -> None:
        nonlocal scale, best
        new_scale = new_scale.half()
        error = squared_errors(block, width, new_scale)
        better = error < best
        best = torch.where(better, error, best)
        scale = torch.where(better, new_scale, scale)

    for share in SHRINK:
        keep_better(share * full_scale)
    for _ in range(REFITS):
        levels = round_codes(block, width, scale) - centre(width)
        product = (block * levels).sum(2).clamp_min_(0)
        keep_better(product / levels.square().sum(2).clamp_min_(1e-12))
    return scale
