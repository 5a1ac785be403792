"""Baseline: signs of the randomly rotated row, then of what they leave, K stages with one fp16
scale a row each.

A rotation makes a row's entries near Gaussian and alike, so that one scale a row suits them all. K
(d + 16) bits a row. The stages together are a quantizer of 2^K levels: they start as the best
uniform one of a Gaussian variable, and then scales by least squares and signs are taken in turn.
Greedy residuals' mean absolute values as scales lose a quarter at K = 3. One stage has RaBitQ's
codes (Gao and Long, SIGMOD 2024); the rotation is never stored, but made from a seed.
"""

from dataclasses import dataclass

import torch
from torch import Tensor

from ..errors import UserError
from ..formats._base import row_block
from ..formats.rotated_signs import RotatedSigns
from ..numerics import bits as packing
from ..numerics.matrices import Rows
from ._base import Context, Method, Options, Plan, budget_bits, infeasible
from .integer import check_fp16_range

SCALE_BITS = 16
GAUSSIAN_STEP = {
    1: 1.596,
    2: 0.9957,
    3: 0.586,
    4: 0.3352,
    5: 0.1881,
    6: 0.1041,
    7: 0.0569,
    8: 0.0308,
}
"""Step between the 2^K levels that fit a standard Gaussian variable best (Max 1960), by K."""
MOST_STAGES = max(GAUSSIAN_STEP)


@dataclass(frozen=True)
class RotatedSignsOptions(Options):
    """Number of stages and effort."""

    stages: int = 0
    """K; 0 takes as many as the budget allows."""
    refits: int = 3
    """Times that a row's scales are solved together and its signs taken again."""

    def __post_init__(self) -> None:
        super().__post_init__()
        if not 0 <= self.stages <= MOST_STAGES or self.refits < 0:
            raise UserError(f"option stages must be 0 to {MOST_STAGES}, refits at least 0")


class SignQuantization(Method):
    """As many stages as the budget allows."""

    alias = "signs"
    label = "rotated signs"
    kind = "baseline"
    has_factors = False
    supports_streaming = True
    Options = RotatedSignsOptions

    def plan(self, shape: tuple[int, int], ratio: float) -> Plan:
        """See base class."""
        a_stage = shape[0] * (8 * packing.packed_bytes(shape[1], 1) + SCALE_BITS)
        stages = min(budget_bits(shape, ratio) // a_stage, self.options.stages or MOST_STAGES)
        least = self.options.stages or 1
        if stages < least:
            raise infeasible(self.label, shape, 32 * shape[0] * shape[1] / (least * a_stage))
        return Plan(shape, ratio, bits=stages * a_stage, sizes={"stages": stages})

    def fit(self, matrix: Rows, plan: Plan, context: Context) -> RotatedSigns:
        """See base class. Reads the matrix by blocks of rows only, so that it may lie on disk."""
        compressed = RotatedSigns(plan.shape, plan.sizes["stages"], context.seed)
        step = row_block(plan.shape[1] * plan.sizes["stages"])
        for start in range(0, plan.shape[0], step):
            rows = compressed.rotation.forward(matrix[start : start + step].float())
            scale, signs = _fitted(rows, plan.sizes["stages"], self.options.refits, start)
            packed = packing.pack_rows((signs > 0).flatten(0, 1), 1)
            compressed.codes[start : start + len(rows)] = packed.view(
                len(rows), plan.sizes["stages"], -1
            )
            compressed.scale[start : start + len(rows)] = scale
            context.progress(f"{start + len(rows)}/{plan.shape[0]} rows")
        return compressed


def _fitted(rows: Tensor, stages: int, refits: int, first_row: int) -> tuple[Tensor, Tensor]:
    """Scales (n, K), as fp16, and signs (n, K, d) of rows (n, d): the best met for each row."""
    scale = check_fp16_range(_gaussian_scales(rows, stages).half(), rows, first_row)
    signs = _signs(rows, scale)
    error = _error(rows, scale, signs)
    for _ in range(refits):
        # Largest first, so that later stages correct what earlier ones leave.
        new_scale = _solved(rows, signs).abs().sort(dim=1, descending=True).values.half()
        new_signs = _signs(rows, new_scale)
        new_error = _error(rows, new_scale, new_signs)
        better = new_error < error
        if not better.any():
            break
        scale = torch.where(better[:, None], new_scale, scale)
        error = torch.where(better, new_error, error)
        signs = torch.where(better[:, None, None], new_signs, signs)
    return scale, signs


def _gaussian_scales(rows: Tensor, stages: int) -> Tensor:
    """Scales (n, K), each half the one before.

    Whose signs add up to the best uniform quantizer of a Gaussian row.
    """
    steps = GAUSSIAN_STEP[stages] * 2.0 ** torch.arange(stages - 2, -2, -1)
    return rows.square().mean(1, keepdim=True).sqrt() * steps


def _signs(rows: Tensor, scale: Tensor) -> Tensor:
    """Signs (n, K, d), stage after stage, of what the scaled signs before leave.

    0 counts as positive.
    """
    signs = []
    left = rows
    for one in scale.float().T:
        signs.append(torch.where(left >= 0, 1.0, -1.0))
        left = left - one[:, None] * signs[-1]
    return torch.stack(signs, dim=1)


def _error(rows: Tensor, scale: Tensor, signs: Tensor) -> Tensor:
    """Squared error (n,)."""
    return ((scale.float()[:, None] @ signs)[:, 0] - rows).square().sum(1)


def _solved(rows: Tensor, signs: Tensor) -> Tensor:
    """The scales (n, K) of least squared error for given signs."""
    gram = signs @ signs.mT
    gram.diagonal(dim1=1, dim2=2).add_(1e-4 * rows.shape[1])  # two stages may have equal signs
    return torch.linalg.solve(gram, signs @ rows[:, :, None])[..., 0]
