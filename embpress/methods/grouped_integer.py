"""Baseline: integers with a scale for each group of 32, 64 or 128 columns, as libraries have them.

`scheme: affine` is MLX's `mx.quantize` (mlx/backend/cpu/quantized.cpp, `quantize`): value = scale x
code + bias, where the end of larger absolute value is a level, and 0 is one too. Scale and bias are
fp16: 4.5 bits a value with 4 bits in groups of 64, 7.11x, and 5 bits in groups of 32, 6.4x.

`scheme: symmetric` is torchao's `IntxWeightOnlyConfig` with `MappingType.SYMMETRIC`
(torchao/quantization/quant_primitives.py, `_choose_qparams_affine`): value = scale x code with
codes from -2^(b-1) to 2^(b-1) - 1, and scale = largest absolute value / (2^(b-1) - 1/2), so that
the largest value may be clipped by half a level. Scales are fp16: 4.25 bits a value with 4 bits in
groups of 64, 7.53x, and 4.5 bits in groups of 32, 7.11x.

Both libraries store scales in the dtype of the model, refuse rows whose length is no multiple of
the group, and compute in float32. Here scales are fp16, and the last group of a row may be shorter.

Options: `bits`; `group`; `scheme`; `straight_through`, as of method `integer`.
"""

from dataclasses import dataclass
from typing import Literal

import torch
from torch import Tensor

from ..errors import UserError
from ..formats._base import row_block
from ..formats._factors import check_fp16_range
from ..formats.integer_rows import IntegerRows
from ..numerics import bits as packing
from ..numerics.matrices import Rows
from ._base import Context, Method, Options, Plan, budget_bits, infeasible
from ._integer_codes import SCALE_BITS, split_groups

WIDTHS = {"affine": (8, 6, 5, 4, 3, 2), "symmetric": (8, 6, 5, 4)}
LEAST_AFFINE_SCALE = 1e-7
"""MLX's smallest scale."""
LEAST_SYMMETRIC_SCALE = torch.finfo(torch.float32).eps
"""torchao's smallest scale of float32 values."""


@dataclass(frozen=True)
class GroupedIntegerOptions(Options):
    """Width of the codes, size of a group, and how the grid follows from its values."""

    bits: Literal[0, 8, 6, 5, 4, 3, 2] = 0
    """Bits of a code; 0 uses the widest that fits the budget."""
    group: Literal[64, 32, 128] = 64
    """Columns that share a scale."""
    scheme: Literal["affine", "symmetric"] = "affine"
    """`affine` as MLX has it, `symmetric` as torchao has it."""
    straight_through: bool = False
    """Training of the compressed matrix trains the codes, with a straight-through estimator."""

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.bits and self.bits not in WIDTHS[self.scheme]:
            raise UserError(
                f"option bits is {self.bits}, but scheme: {self.scheme} has "
                f"{', '.join(map(str, WIDTHS[self.scheme]))}"
            )


class GroupedInteger(Method):
    """The grid of each group spans its values."""

    label = "grouped integers"
    kind = "baseline"
    has_factors = False
    supports_streaming = True
    Options = GroupedIntegerOptions

    def plan(self, shape: tuple[int, int], ratio: float) -> Plan:
        """See base class."""
        options = self.options
        budget = budget_bits(shape, ratio)
        n_scales = (2 if options.scheme == "affine" else 1) * -(-shape[1] // options.group)
        for width in (options.bits,) if options.bits else WIDTHS[options.scheme]:
            size = 8 * packing.packed_bytes(shape[0] * shape[1], width)
            size += SCALE_BITS * n_scales * shape[0]
            if size <= budget:
                return Plan(shape, ratio, bits=size, sizes={"width": width})
        raise infeasible(
            f"A matrix of int{width} groups of {options.group}",
            shape,
            32 * shape[0] * shape[1] / size,
        )

    def fit(self, matrix: Rows, plan: Plan, context: Context) -> IntegerRows:
        """See base class."""
        width = plan.sizes["width"]
        rows, d = plan.shape
        affine = self.options.scheme == "affine"
        compressed = IntegerRows(
            plan.shape, width, self.options.group, affine, self.options.straight_through
        )
        step = row_block(d)
        for start in range(0, rows, step):
            block = split_groups(matrix[start : start + step].float(), self.options.group)
            stop = start + len(block)
            if affine:
                scale, bias = _affine_grid(block, width)
                codes = ((block - bias[:, :, None]) / scale[:, :, None]).round_()
                assert compressed.minimum is not None
                compressed.minimum[start:stop] = check_fp16_range(bias.half(), block, start)
            else:
                half = 1 << (width - 1)
                scale = block.abs().amax(2) / (half - 0.5)
                scale = scale.clamp_min(LEAST_SYMMETRIC_SCALE).half().float()
                codes = (block / scale[:, :, None]).round_().add_(half)
            compressed.scale[start:stop] = check_fp16_range(scale.half(), block, start)
            compressed.store_codes(start, codes.clamp_(0, 2**width - 1).flatten(1)[:, :d])
            context.progress(f"{stop}/{rows} rows")
        return compressed


def _affine_grid(block: Tensor, width: int) -> tuple[Tensor, Tensor]:
    """MLX's scales and biases (n, groups) of values (n, groups, group).

    The scale is negative where the largest value is the bias. It is chosen so that 0 is a level.
    """
    low = block.amin(2)
    high = block.amax(2)
    is_low = low.abs() > high.abs()
    scale = ((high - low) / (2**width - 1)).clamp_min(LEAST_AFFINE_SCALE)
    scale = torch.where(is_low, scale, -scale)
    edge = torch.where(is_low, low, high)
    code_of_0 = (edge / scale).round()
    aligned = code_of_0 != 0
    return (
        torch.where(aligned, edge / torch.where(aligned, code_of_0, 1.0), scale),
        torch.where(aligned, edge, 0.0),
    )
