"""Baseline: the block types Q8_0, Q5_0 and Q4_0 of GGUF files, as llama.cpp quantizes them.

Blocks of 32 values share an fp16 scale: 8.5, 5.5 and 4.5 bits a value, 3.76x, 5.81x and 7.11x. Q8_0
spans the largest absolute value with codes to 127. Q5_0 and Q4_0 span it with the code -16 or -8,
which is one level further than the other end reaches: the scale has the sign that puts the largest
absolute value there. The bytes are those of ggml's reference quantizer (ggml-quants.c,
`quantize_row_q4_0_ref` and its siblings), which the package `gguf` has too.

Option: `type`.
"""

from dataclasses import dataclass
from typing import Literal

import torch
from torch import Tensor
from torch.nn import functional

from ..formats._base import row_block
from ..formats._factors import check_fp16_range
from ..formats.gguf_blocks import BLOCK, TYPES, GGUFBlocks
from ..numerics import bits as packing
from ..numerics.matrices import Rows
from ._base import Context, Method, Options, Plan, budget_bits, infeasible


@dataclass(frozen=True)
class GGUFOptions(Options):
    """Type of the blocks."""

    type: Literal["widest", "q8_0", "q5_0", "q4_0"] = "widest"
    """`widest` uses the widest type that fits the budget."""


class GGUF(Method):
    """Each block on a grid that its value of largest absolute value decides."""

    label = "GGUF blocks"
    kind = "baseline"
    has_factors = False
    supports_streaming = True
    Options = GGUFOptions

    def plan(self, shape: tuple[int, int], ratio: float) -> Plan:
        """See base class."""
        budget = budget_bits(shape, ratio)
        n_blocks = shape[0] * -(-shape[1] // BLOCK)
        for name in TYPES if self.options.type == "widest" else (self.options.type,):
            size = 8 * TYPES[name].n_bytes * n_blocks
            if size <= budget:
                return Plan(shape, ratio, bits=size, sizes={"width": TYPES[name].width})
        raise infeasible(f"GGUF {name.upper()}", shape, 32 * shape[0] * shape[1] / size)

    def fit(self, matrix: Rows, plan: Plan, context: Context) -> GGUFBlocks:
        """See base class."""
        (name,) = (n for n, layout in TYPES.items() if layout.width == plan.sizes["width"])
        rows, d = plan.shape
        compressed = GGUFBlocks(plan.shape, name)
        step = row_block(d)
        for start in range(0, rows, step):
            block = matrix[start : start + step].float()
            stop = start + len(block)
            values = functional.pad(block, (0, -d % BLOCK)).unflatten(1, (-1, BLOCK))
            compressed.blocks[start:stop] = _quantize(values, plan.sizes["width"], start).flatten(1)
            context.progress(f"{stop}/{rows} rows")
        return compressed


def _quantize(values: Tensor, width: int, first_row: int) -> Tensor:
    """Bytes (n, blocks, bytes of a block) of values (n, blocks, 32).

    The arithmetic is in float32 and in ggml's order, so that the bytes are the same. Codes are
    computed with the scale before it is rounded to fp16.
    """
    if width == 8:
        scale = values.abs().amax(2, keepdim=True) / 127
        scaled = values * _inverse(scale)
        # Halves are rounded away from 0, as by C's roundf.
        size = scaled.abs()
        codes = scaled.sign() * (size.floor() + (2 * (size - size.floor())).floor())
        packed = codes.to(torch.int8).view(torch.uint8)
    else:
        half = 1 << (width - 1)
        largest = values.gather(2, values.abs().argmax(2, keepdim=True))
        scale = largest / -half
        codes = (values * _inverse(scale) + (half + 0.5)).clamp_(0, 2 * half - 1).to(torch.uint8)
        low, high = (codes & 15).chunk(2, dim=2)
        packed = low | high << 4
        if width == 5:
            fifth = packing.pack(codes >> 4, 1).view(*codes.shape[:2], BLOCK // 8)
            packed = torch.cat([fifth, packed], dim=2)
    stored = check_fp16_range(scale.half(), values, first_row)
    return torch.cat([stored.view(torch.uint8), packed], dim=2)


def _inverse(scale: Tensor) -> Tensor:
    """1 / scale; 0 where the scale is 0, or so small that its inverse overflows."""
    inverse = 1 / scale
    return torch.where(inverse.isfinite(), inverse, 0.0)
