"""Baseline: NF4, the 4-bit normal float of QLoRA (Dettmers et al., NeurIPS 2023), by bitsandbytes.

The 16 levels are quantiles of a normal variable, scaled to the largest absolute value of a group of
64 values: 4.5 bits a value with float32 scales, 7.11x. Codes are those of bitsandbytes
(`quantize_4bit`, quant_type nf4): the nearest level, of two equally near ones the lower.

Options: `group`, the block size of bitsandbytes; `scales: float16` saves half of the scales' bits,
7.53x, which bitsandbytes does not offer (it rounds them to 8 bits instead, `compress_statistics`).
"""

from dataclasses import dataclass
from typing import Literal

import torch
from torch import Tensor
from torch.nn import functional

from ..formats._base import row_block
from ..formats._factors import check_fp16_range
from ..formats.normal_float import LEVELS, NormalFloat
from ..numerics.matrices import Rows
from ._base import Context, Method, Options, Plan, budget_bits, infeasible

THRESHOLDS = [(low + high) / 2 for low, high in zip(LEVELS, LEVELS[1:])]
"""Value k separates codes k and k + 1."""


@dataclass(frozen=True)
class NormalFloatOptions(Options):
    """Size of a group and precision of its scale."""

    group: Literal[64, 32, 128, 256, 512] = 64
    """Values that share a scale."""
    scales: Literal["float32", "float16"] = "float32"
    """Precision of the scales."""


class NormalFloatQuantization(Method):
    """Each value by the nearest of the 16 levels, scaled to its group."""

    alias = "nf4"
    label = "NF4"
    kind = "baseline"
    has_factors = False
    supports_streaming = True
    Options = NormalFloatOptions

    def plan(self, shape: tuple[int, int], ratio: float) -> Plan:
        """See base class."""
        count = shape[0] * shape[1]
        scale_bits = 32 if self.options.scales == "float32" else 16
        size = 8 * -(-count // 2) + scale_bits * -(-count // self.options.group)
        if size > budget_bits(shape, ratio):
            raise infeasible(self.label, shape, 32 * count / size)
        return Plan(shape, ratio, bits=size, sizes={"group": self.options.group})

    def fit(self, matrix: Rows, plan: Plan, context: Context) -> NormalFloat:
        """See base class."""
        rows, d = plan.shape
        group = plan.sizes["group"]
        compressed = NormalFloat(plan.shape, group, self.options.scales)
        # Blocks of rows end on a group, as groups run over the ends of rows.
        step = -(-row_block(d) // group) * group
        for start in range(0, rows, step):
            block = matrix[start : start + step].float()
            values = functional.pad(block.flatten(), (0, -block.numel() % group)).view(-1, group)
            scale = values.abs().amax(1).to(compressed.scale.dtype)
            if self.options.scales == "float16":
                check_fp16_range(block.abs().amax(1, keepdim=True).half(), block, start)
            first = start * d // group
            compressed.scale[first : first + len(scale)] = scale
            codes = _nearest_levels(values, scale.float())[: block.numel()]
            first = start * d // 2
            packed = _pack(codes)
            compressed.codes[first : first + len(packed)] = packed
            context.progress(f"{start + len(block)}/{rows} rows")
        return compressed


def _nearest_levels(values: Tensor, scale: Tensor) -> Tensor:
    """Codes of groups of values (n, group) with scales (n,): uint8 (n x group,)."""
    scaled = values * (1 / torch.where(scale > 0, scale, 1.0))[:, None]
    # A threshold itself belongs to the lower code.
    return torch.bucketize(scaled.flatten(), torch.tensor(THRESHOLDS)).to(torch.uint8)


def _pack(codes: Tensor) -> Tensor:
    """Two codes a byte, the first in the high half."""
    pairs = functional.pad(codes, (0, len(codes) % 2)).view(-1, 2)
    return pairs[:, 0] << 4 | pairs[:, 1]
