"""Baseline: integers of 8 to 2 bits with one fp16 scale, and maybe an fp16 minimum, a row or a
group of columns.

What every quantization library offers for embeddings. V (b d + 16) bits with a scale a row: 3.98x
and 7.92x at d = 384.
"""

from dataclasses import dataclass
from typing import Literal

import torch
from torch import Tensor

from ..errors import UserError
from ..formats._base import row_block
from ..formats._factors import fp16_scales
from ..formats.integer_rows import IntegerRows, centre
from ..numerics import bits as packing
from ..numerics.matrices import Rows
from ._base import Context, Method, Options, Plan, budget_bits, infeasible

SCALE_BITS = 16
SHRINK = [1 - 0.05 * step for step in range(18)]
"""Shares of the full range among which the clip is searched, widest first."""
REFITS = 3
"""Times that scale and minimum are then solved for given codes, and codes rounded again."""


@dataclass(frozen=True)
class IntegerOptions(Options):
    """Width of the codes and where their grid lies."""

    bits: Literal[0, 8, 4, 3, 2] = 0
    """Bits of a code; 0 takes the widest that the budget allows."""
    group: int = 0
    """Columns that share a scale; 0 for the whole row."""
    zero_point: bool = False
    """Whether the grid starts at a stored minimum; else it lies around 0."""
    clip: Literal["auto", "range", "least_squares"] = "auto"
    """Whether the grid spans all values or the range of least squared error.

    Auto does the latter below 4 bits.
    """

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.group < 0:
            raise UserError("option group must be 0 or a number of columns")


class Integer(Method):
    """Rounds to the nearest level of a grid whose scale is rounded first.

    So that codes and scale agree.
    """

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
        side = SCALE_BITS * groups * shape[0] * (2 if options.zero_point else 1)
        for width in (options.bits,) if options.bits else (8, 4, 3, 2):
            size = 8 * packing.packed_bytes(shape[0] * shape[1], width) + side
            if size <= budget:
                return Plan(shape, ratio, bits=size, sizes={"width": width})
        raise infeasible(f"A matrix of int{width} rows", shape, 32 * shape[0] * shape[1] / size)

    def fit(self, matrix: Rows, plan: Plan, context: Context) -> IntegerRows:
        """See base class. Reads the matrix by blocks of rows only, so that it may lie on disk."""
        options, width, (rows, d) = self.options, plan.sizes["width"], plan.shape
        group = options.group or d
        search = options.clip == "least_squares" or options.clip == "auto" and width < 4
        compressed = IntegerRows(plan.shape, width, options.group, options.zero_point)
        step = row_block(d)
        for start in range(0, rows, step):
            block = _in_groups(matrix[start : start + step].float(), group)
            scale, minimum = _full_range(block, width, options.zero_point, start)
            if search:
                scale, minimum = _least_squares(block, width, scale, minimum)
            codes = _codes(block, width, scale, minimum).flatten(1)[:, :d]
            packed = packing.pack(codes, width)
            compressed.codes[start * d * width // 8 :][: len(packed)] = packed
            compressed.scale[start : start + step] = scale.view(
                len(codes), *compressed.scale.shape[1:]
            )
            if compressed.minimum is not None and minimum is not None:
                compressed.minimum[start : start + step] = minimum.view(
                    len(codes), *compressed.minimum.shape[1:]
                )
            context.progress(f"{start + len(codes)}/{rows} rows")
        return compressed


Grid = tuple[Tensor, Tensor | None]
"""fp16 scale and, where the grid has one, fp16 minimum of each group: (n, groups) both."""


def _in_groups(rows: Tensor, group: int) -> Tensor:
    """(n, d) as (n, groups, group).

    A last shorter group filled up with copies of its last column.
    """
    lacking = -rows.shape[1] % group
    if lacking:
        rows = torch.cat([rows, rows[:, -1:].expand(-1, lacking)], dim=1)
    return rows.unflatten(1, (-1, group))


def _full_range(block: Tensor, width: int, zero_point: bool, first_row: int) -> Grid:
    """The grid that spans all of a group's values."""
    if zero_point:
        low, high = block.aminmax(dim=2)
        minimum = check_fp16_range(low.half(), block, first_row)
        reach = high - minimum.float()
        top = float(2**width - 1)
    else:
        minimum = None
        reach = block.abs().amax(2)
        top = 2**width - 1 - centre(width)
    return check_fp16_range(fp16_scales(reach.clamp_min(0), top), block, first_row), minimum


def check_fp16_range(half: Tensor, block: Tensor, first_row: int) -> Tensor:
    """Scales or minima (n, groups) of some rows, after checking that fp16 held them.

    Raises:
        UserError: naming the row, if one does not fit.
    """
    if half.isinf().any():
        row = int(half.isinf().any(1).nonzero()[0])
        reach = float(block[row].abs().max())
        raise UserError(
            f"row {first_row + row} reaches {reach:g}: its scale does not fit fp16, so rescale the matrix"
        )
    return half


def _codes(block: Tensor, width: int, scale: Tensor, minimum: Tensor | None) -> Tensor:
    """The nearest codes on a grid, as floats; the rounded scale divides, as it is what decodes."""
    step = torch.where(scale > 0, scale.float(), 1.0)[
        :, :, None
    ]  # scale 0 decodes to one value, whatever the codes
    low = 0
    high = 2**width - 1
    if minimum is not None:
        return ((block - minimum.float()[:, :, None]) / step).round_().clamp_(low, high)
    # int8 and int4 leave the lowest code out: the grid is symmetric.
    whole, half = divmod(centre(width), 1)
    return (block / step).add_(half).round_().add_(whole).clamp_(low + (width >= 4), high)


def _decoded(codes: Tensor, width: int, scale: Tensor, minimum: Tensor | None) -> Tensor:
    """The values of codes on a grid."""
    if minimum is None:
        return (codes - centre(width)) * scale.float()[:, :, None]
    return codes * scale.float()[:, :, None] + minimum.float()[:, :, None]


def _least_squares(block: Tensor, width: int, scale: Tensor, minimum: Tensor | None) -> Grid:
    """The grid of least squared error among shrunk full ranges.

    Then refitted to its own codes while that helps.
    """
    full_scale = scale.float()
    full_minimum = None if minimum is None else minimum.float()
    best = torch.full_like(full_scale, torch.inf)

    def keep_better(new_scale: Tensor, new_minimum: Tensor | None) -> None:
        nonlocal scale, minimum, best
        new_scale = new_scale.half()
        new_minimum = None if new_minimum is None else new_minimum.half()
        codes = _codes(block, width, new_scale, new_minimum)
        error = _decoded(codes, width, new_scale, new_minimum).sub_(block).square_().sum(2)
        better = error < best
        best = torch.where(better, error, best)
        scale = torch.where(better, new_scale, scale)
        if minimum is not None and new_minimum is not None:
            minimum = torch.where(better, new_minimum, minimum)

    for share in SHRINK:
        # A shrunk range keeps its middle.
        moved = (
            None
            if full_minimum is None
            else full_minimum + (1 - share) / 2 * (2**width - 1) * full_scale
        )
        keep_better(share * full_scale, moved)
    for _ in range(REFITS):
        keep_better(
            *_refit(block, _codes(block, width, scale, minimum), width, minimum is not None)
        )
    return scale, minimum


def _refit(
    block: Tensor, codes: Tensor, width: int, zero_point: bool
) -> tuple[Tensor, Tensor | None]:
    """Scale and minimum of least squared error for given codes.

    A regression on them, through 0 without a minimum.
    """
    if not zero_point:
        levels = codes - centre(width)
        return (block * levels).sum(2).clamp_min_(0) / levels.square().sum(2).clamp_min_(
            1e-12
        ), None
    mean = block.mean(2)
    mean_code = codes.mean(2)
    spread = codes - mean_code[:, :, None]
    scale = (block * spread).sum(2).clamp_min_(0) / spread.square().sum(2).clamp_min_(1e-12)
    return scale, mean - scale * mean_code
