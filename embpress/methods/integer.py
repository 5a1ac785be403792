"""Baseline: integers of 8 to 2 bits with one fp16 scale per row or per group of columns.

This is what quantization libraries offer for embeddings: V (b d + 16) bits with a scale per row,
3.98x and 7.92x at d = 384. The grid is symmetric and spans all values of a group; below 4 bits its
scale is the one of least squared error instead.
"""

from dataclasses import dataclass
from typing import Literal

import torch
from torch import Tensor

from ..errors import UserError
from ..formats._base import row_block
from ..formats._factors import check_fp16_range, fp16_scales
from ..formats.integer_rows import IntegerRows, centre
from ..numerics import bits as packing
from ..numerics.matrices import Rows
from ._base import Context, Method, Options, Plan, budget_bits, infeasible

SCALE_BITS = 16
WIDTHS = (8, 4, 3, 2)
FULL_RANGE_WIDTH = 4
"""Codes of at least this many bits span all values; narrower ones minimize the squared error."""
SHRINK = [1 - 0.05 * step for step in range(18)]
"""Shares of the full range among which the scale of least squared error is searched."""
REFITS = 3
"""Times that the scale is then solved for given codes, and the codes rounded again."""


@dataclass(frozen=True)
class IntegerOptions(Options):
    """Width of the codes, and how many columns share a scale."""

    bits: Literal[0, 8, 4, 3, 2] = 0
    """Bits of a code; 0 uses the widest that fits the budget."""
    group: int = 0
    """Columns that share a scale; 0 for the whole row."""

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.group < 0:
            raise UserError(f"option group is {self.group}, but must be 0 or a number of columns")


class Integer(Method):
    """Rounds to the nearest level of a grid whose scale is rounded to fp16 first."""

    label = "integer rows"
    kind = "baseline"
    has_factors = False
    supports_streaming = True
    Options = IntegerOptions

    def plan(self, shape: tuple[int, int], ratio: float) -> Plan:
        """See base class."""
        budget = budget_bits(shape, ratio)
        options = self.options
        groups = -(-shape[1] // options.group) if options.group else 1
        for width in (options.bits,) if options.bits else WIDTHS:
            size = 8 * packing.packed_bytes(shape[0] * shape[1], width)
            size += SCALE_BITS * groups * shape[0]
            if size <= budget:
                return Plan(shape, ratio, bits=size, sizes={"width": width})
        raise infeasible(f"A matrix of int{width} rows", shape, 32 * shape[0] * shape[1] / size)

    def fit(self, matrix: Rows, plan: Plan, context: Context) -> IntegerRows:
        """See base class."""
        width = plan.sizes["width"]
        rows, d = plan.shape
        compressed = IntegerRows(plan.shape, width, self.options.group)
        step = row_block(d)
        for start in range(0, rows, step):
            block = split_groups(matrix[start : start + step].float(), self.options.group or d)
            top = 2**width - 1 - centre(width)
            scale = check_fp16_range(fp16_scales(block.abs().amax(2), top), block, start)
            if width < FULL_RANGE_WIDTH:
                scale = _fit_scale(block, width, scale)
            codes = _round_codes(block, width, scale).flatten(1)[:, :d]
            packed = packing.pack(codes, width)
            compressed.codes[start * d * width // 8 :][: len(packed)] = packed
            compressed.scale[start : start + step] = scale.view(
                len(codes), *compressed.scale.shape[1:]
            )
            context.progress(f"{start + len(codes)}/{rows} rows")
        return compressed


def split_groups(rows: Tensor, group: int) -> Tensor:
    """Rows (n, d) as (n, groups, group); a shorter last group repeats its last column."""
    lacking = -rows.shape[1] % group
    if lacking:
        rows = torch.cat([rows, rows[:, -1:].expand(-1, lacking)], dim=1)
    return rows.unflatten(1, (-1, group))


def _round_codes(block: Tensor, width: int, scale: Tensor) -> Tensor:
    """Nearest codes of values (n, groups, group) on the grids of fp16 scales (n, groups).

    Codes are floats. Values are divided by the rounded scale, which decodes; a scale of 0 decodes
    every code to 0.
    """
    step = torch.where(scale > 0, scale.float(), 1.0)[:, :, None]
    whole, half = divmod(centre(width), 1)
    # From 4 bits the lowest code is not used, so that the grid is symmetric.
    lowest = int(width >= FULL_RANGE_WIDTH)
    return (block / step).add_(half).round_().add_(whole).clamp_(lowest, 2**width - 1)


def _fit_scale(block: Tensor, width: int, scale: Tensor) -> Tensor:
    """fp16 scales (n, groups) of least squared error, from those of the full range.

    They are searched among shrunk ranges, then solved for their own codes while that helps.
    """
    full_scale = scale.float()
    best = torch.full_like(full_scale, torch.inf)

    def keep_better(new_scale: Tensor) -> None:
        nonlocal scale, best
        new_scale = new_scale.half()
        codes = _round_codes(block, width, new_scale)
        decoded = (codes - centre(width)) * new_scale.float()[:, :, None]
        error = decoded.sub_(block).square_().sum(2)
        better = error < best
        best = torch.where(better, error, best)
        scale = torch.where(better, new_scale, scale)

    for share in SHRINK:
        keep_better(share * full_scale)
    for _ in range(REFITS):
        levels = _round_codes(block, width, scale) - centre(width)
        product = (block * levels).sum(2).clamp_min_(0)
        keep_better(product / levels.square().sum(2).clamp_min_(1e-12))
    return scale
