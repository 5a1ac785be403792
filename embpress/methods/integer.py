"""Baseline: each row as 8- or 4-bit integers with one fp16 scale (symmetric, by the row's largest absolute value).

What every quantisation library offers for embeddings. V (b d + 16) bits: 3.98x and 7.92x at d = 384.
"""

from dataclasses import dataclass
from typing import Literal

import torch
from torch import Tensor

from .. import bits as packing
from ..errors import UserError
from ..formats.factors import fp16_scales, integer_codes
from ..formats.integer_rows import IntegerRows
from .base import Context, Method, Options, Plan, budget_bits, infeasible

SCALE_BITS = 16


@dataclass(frozen=True)
class IntegerOptions(Options):
    """Width of the codes."""

    bits: Literal[0, 8, 4] = 0
    """Bits of a code; 0 takes 8 where the budget allows, else 4."""


class Integer(Method):
    """Rounds to the nearest level of a grid around 0 whose scale is rounded first, so that codes and scale agree."""

    label = "integer rows"
    kind = "baseline"
    Options = IntegerOptions

    def plan(self, shape: tuple[int, int], ratio: float) -> Plan:
        """See base class."""
        budget = budget_bits(shape, ratio)
        widths = (self.options.bits,) if self.options.bits else (8, 4)
        for width in widths:
            size = 8 * packing.packed_bytes(shape[0] * shape[1], width) + SCALE_BITS * shape[0]
            if size <= budget:
                return Plan(shape, ratio, bits=size, sizes={"width": width})
        raise infeasible(f"A matrix of int{width} rows", shape, 32 * shape[0] * shape[1] / size)

    def fit(self, matrix: Tensor, plan: Plan, context: Context) -> IntegerRows:
        """See base class."""
        compressed = IntegerRows(plan.shape, plan.sizes["width"])
        top = 2 ** (plan.sizes["width"] - 1) - 1
        largest = matrix.abs().amax(1)
        scale = fp16_scales(largest, top)
        if scale.isinf().any():
            row = int(scale.isinf().nonzero()[0])
            raise UserError(f"row {row} reaches {float(largest[row]):g}: its scale does not fit fp16, so rescale the matrix")
        compressed.scale.copy_(scale)
        codes = integer_codes(matrix, scale[:, None], top).to(torch.int64) + top + 1
        compressed.codes.copy_(packing.pack(codes, plan.sizes["width"]))
        return compressed
