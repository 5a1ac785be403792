"""Baseline: signs of the randomly rotated row, then of the residual, K stages with fp16 scales.

A rotation makes the entries of a row nearly Gaussian and alike, so that one scale per row and stage
suits all of them: K (d + 16) bits per row. Together the stages are a quantizer of 2^K levels:
scales start from the best uniform quantizer of a Gaussian variable (Max 1960), then scales by least
squares and signs are updated in turn. With the mean absolute values of greedy residuals as scales
the error at K = 3 is a quarter larger. One stage has the codes of RaBitQ (Gao and Long, SIGMOD
2024). The rotation is not stored: it follows from a seed.

The budget is spent: as many rows as fit have K + 1 stages, those of most weighted energy first,
where the weights are smoothed counts if these are known.
"""

import torch
from torch import Tensor

from ..formats._base import CompressedMatrix, row_block
from ..formats._factors import check_fp16_range
from ..formats.rotated_signs import RotatedSigns
from ..formats.row_tiers import RowTiers, Tier, tier_map_bytes
from ..numerics import bits as packing
from ..numerics.matrices import Rows
from ._base import Context, Method, Plan, budget_bits, infeasible
from ._row_tiers import expected_energies, fill_tiers, first_tier, most_wide_rows

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
"""Step of the best uniform quantizer of 2^K levels for a standard Gaussian (Max 1960), by K."""
MOST_STAGES = max(GAUSSIAN_STEP)
REFITS = 3
"""Times that a row's scales are solved for its signs, and its signs taken again."""


class SignQuantization(Method):
    """The largest number of stages that fits the budget, and one more for some rows."""

    alias = "signs"
    label = "rotated signs"
    kind = "baseline"
    has_factors = False
    supports_streaming = True

    def plan(self, shape: tuple[int, int], ratio: float) -> Plan:
        """See base class."""
        rows, d = shape
        row_bits = 8 * packing.packed_bytes(d, 1) + SCALE_BITS
        budget = budget_bits(shape, ratio)
        stages = min(budget // (rows * row_bits), MOST_STAGES)
        if not stages:
            raise infeasible(self.label, shape, 32 * d / row_bits)
        size = stages * rows * row_bits
        n_more = 0
        if stages < MOST_STAGES:
            n_more = most_wide_rows(rows, budget, lambda n: size + n * row_bits)
        if not n_more:
            return Plan(shape, ratio, bits=size, sizes={"stages": stages})
        size += n_more * row_bits + 8 * tier_map_bytes(rows, 2)
        return Plan(shape, ratio, bits=size, sizes={"stages": stages, "n_more": n_more})

    def fit(self, matrix: Rows, plan: Plan, context: Context) -> RotatedSigns | RowTiers:
        """See base class. With two numbers of stages the matrix is read twice."""
        stages = plan.sizes["stages"]
        if "n_more" not in plan.sizes:
            compressed = RotatedSigns(plan.shape, stages, context.seed)
            _encode(matrix, compressed, context)
            return compressed

        def fill(part: CompressedMatrix, ids: Tensor) -> None:
            assert isinstance(part, RotatedSigns)
            _encode(matrix, part, context, ids)

        n_more = plan.sizes["n_more"]
        tiers: list[Tier] = [
            {
                "format": RotatedSigns.format,
                "rows": n,
                "config": {"stages": k, "seed": context.seed},
            }
            for n, k in ((n_more, stages + 1), (plan.shape[0] - n_more, stages))
        ]
        tier_of_row = first_tier(expected_energies(matrix, context), n_more)
        return fill_tiers(plan.shape, tiers, tier_of_row, fill)


def _encode(
    matrix: Rows, compressed: RotatedSigns, context: Context, ids: Tensor | None = None
) -> None:
    """Fill a matrix of signs with the rows of these ids, or with all."""
    rows, d = compressed.shape
    stages = compressed.stages
    step = row_block(d * stages)
    for start in range(0, rows, step):
        chosen = slice(start, start + step) if ids is None else ids[start : start + step]
        block = compressed.rotation.forward(matrix[chosen].float())
        stop = start + len(block)
        numbers = start if ids is None else ids[start:stop]
        scale, signs = _fit_stages(block, stages, numbers)
        packed = packing.pack_rows((signs > 0).flatten(0, 1), 1)
        compressed.codes[start:stop] = packed.view(len(block), stages, -1)
        compressed.scale[start:stop] = scale
        context.progress(f"{stop}/{rows} rows of {stages} stages")


def _fit_stages(
    rows: Tensor, stages: int, numbers: int | Tensor, refits: int = REFITS
) -> tuple[Tensor, Tensor]:
    """fp16 scales (n, K) and signs (n, K, d) of rows (n, d), the best of all refits per row."""
    scale = check_fp16_range(_gaussian_scales(rows, stages).half(), rows, numbers)
    signs = _take_signs(rows, scale)
    error = _squared_error(rows, scale, signs)
    for _ in range(refits):
        # Largest first, so that later stages correct earlier ones.
        new_scale = _solve_scales(rows, signs).abs().sort(dim=1, descending=True).values.half()
        new_signs = _take_signs(rows, new_scale)
        new_error = _squared_error(rows, new_scale, new_signs)
        better = new_error < error
        if not better.any():
            break
        scale = torch.where(better[:, None], new_scale, scale)
        error = torch.where(better, new_error, error)
        signs = torch.where(better[:, None, None], new_signs, signs)
    return scale, signs


def _gaussian_scales(rows: Tensor, stages: int) -> Tensor:
    """Scales (n, K) of the best uniform quantizer of Gaussian rows, each half the one before."""
    steps = GAUSSIAN_STEP[stages] * 2.0 ** torch.arange(stages - 2, -2, -1)
    return rows.square().mean(1, keepdim=True).sqrt() * steps


def _take_signs(rows: Tensor, scale: Tensor) -> Tensor:
    """Signs (n, K, d): of each stage those of the residual of the stages before; 0 is positive."""
    signs = []
    residual = rows
    for stage_scale in scale.float().T:
        signs.append(torch.where(residual >= 0, 1.0, -1.0))
        residual = residual - stage_scale[:, None] * signs[-1]
    return torch.stack(signs, dim=1)


def _squared_error(rows: Tensor, scale: Tensor, signs: Tensor) -> Tensor:
    """Squared error of each row, (n,)."""
    return ((scale.float()[:, None] @ signs)[:, 0] - rows).square().sum(1)


def _solve_scales(rows: Tensor, signs: Tensor) -> Tensor:
    """Scales (n, K) of least squared error for given signs."""
    gram = signs @ signs.mT
    gram.diagonal(dim1=1, dim2=2).add_(1e-4 * rows.shape[1])  # two stages may have equal signs
    return torch.linalg.solve(gram, signs @ rows[:, :, None])[..., 0]
