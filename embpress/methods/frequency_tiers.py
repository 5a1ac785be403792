"""Baseline: plain integers whose width follows from the token's frequency.

What counts give to a plain code: 8 bits for the most frequent rows, fewer for the others, by the
water level that our method ECTCQ has, for codes of whole bits. The expected weighted error of row i
with b bits is w_i |x_i|^2 D(b), where the weights w_i are smoothed counts and D(b), the relative
error of an integer code, is measured on a sample of rows. Bits go where one more bit reduces this
error most, until the budget is spent: then no row would gain more from a bit than the level. Codes
and scales are those of method `integer`.

The sizes of the tiers depend on the matrix and the counts. What the budget leaves, less than a row
of codes, and bits of the tiers' map that fewer tiers save, are stored as padding.

Options: `weighting`; `straight_through`, as of method `integer`.
"""

from dataclasses import dataclass

import torch
from torch import Tensor

from ..formats._base import CompressedMatrix
from ..formats.integer_rows import IntegerRows
from ..formats.row_tiers import RowTiers, tier_map_bytes
from ..numerics.matrices import Rows
from ._base import Context, Method, Options, Plan, Weighting, budget_bits, infeasible
from ._integer_codes import SCALE_BITS, encode, integer_bits, scales, squared_errors
from ._row_tiers import fill_tiers, row_energies
from .integer import integer_tier

WIDTHS = (1, 2, 3, 4, 5, 6, 8)
SAMPLE = 1024
"""Rows on which the relative errors of the widths are measured."""
ROUNDING = 8 * len(WIDTHS)
"""Bits reserved because the codes of each tier end on a whole byte."""


@dataclass(frozen=True)
class FrequencyTiersOptions(Options):
    """Weights of the rows, and whether codes can be trained."""

    weighting: Weighting = "counts"
    straight_through: bool = False
    """Training of the compressed matrix trains the codes, with a straight-through estimator."""


class FrequencyTiers(Method):
    """A width for each row, so that bits reduce the expected weighted error most."""

    alias = "tiers"
    label = "frequency tiers"
    kind = "baseline"
    has_factors = False
    weighted = True
    supports_streaming = True
    Options = FrequencyTiersOptions

    def plan(self, shape: tuple[int, int], ratio: float) -> Plan:
        """See base class."""
        map_bits = 8 * tier_map_bytes(shape[0], len(WIDTHS)) + ROUNDING
        least = map_bits + integer_bits(shape, WIDTHS[0])
        most = map_bits + integer_bits(shape, WIDTHS[-1])
        size = min(budget_bits(shape, ratio), most) // 8 * 8
        if size < least:
            raise infeasible(self.label, shape, 32 * shape[0] * shape[1] / least)
        # The scales and the tiers' map are the same for all widths.
        fixed = map_bits + SCALE_BITS * shape[0]
        return Plan(shape, ratio, bits=size, sizes={"code_bits": size - fixed})

    def fit(self, matrix: Rows, plan: Plan, context: Context) -> RowTiers:
        """See base class. The matrix is read twice."""
        errors = _relative_errors(matrix, context.seed)
        weights = self.row_weights(context, plan.shape[0]).double()
        weighted = row_energies(matrix) * weights
        width = _choose_widths(weighted, errors, plan.shape[1], plan.sizes["code_bits"])
        counts = width.bincount(minlength=len(WIDTHS))
        # Wide codes first; a tier without rows is left out.
        used = [k for k in reversed(range(len(WIDTHS))) if counts[k]]
        tiers = [
            integer_tier(int(counts[k]), WIDTHS[k], 0, self.options.straight_through) for k in used
        ]
        number = torch.zeros(len(WIDTHS), dtype=torch.int64)
        number[used] = torch.arange(len(used))

        def fill(part: CompressedMatrix, ids: Tensor) -> None:
            assert isinstance(part, IntegerRows)
            encode(matrix, part, context.progress, ids)

        stored = 8 * tier_map_bytes(plan.shape[0], len(used)) + sum(
            integer_bits((tier["rows"], plan.shape[1]), tier["config"]["width"]) for tier in tiers
        )
        return fill_tiers(plan.shape, tiers, number[width], fill, (plan.bits - stored) // 8)


def _relative_errors(matrix: Rows, seed: int) -> list[float]:
    """Relative squared error of each width on a sample of rows."""
    order = torch.randperm(matrix.shape[0], generator=torch.Generator().manual_seed(seed))
    ids = order[:SAMPLE].sort().values
    rows = matrix[ids].float()[:, None]
    energy = max(float(rows.double().square().sum()), 1e-300)
    errors = [squared_errors(rows, width, scales(rows, width, ids)) for width in WIDTHS]
    return [float(error.double().sum()) / energy for error in errors]


def _choose_widths(weighted: Tensor, errors: list[float], d: int, code_bits: int) -> Tensor:
    """Positions in WIDTHS for rows of weighted energies (V,): int64 (V,).

    Args:
        weighted: weighted energies.
        errors: relative squared error of each width.
        d: values of a row.
        code_bits: bits of all codes.
    """
    steps = [d * (wide - narrow) for narrow, wide in zip(WIDTHS, WIDTHS[1:])]
    gains = [(e - smaller) / bits for e, smaller, bits in zip(errors, errors[1:], steps)]
    # Each step of a row is taken after the ones before: their gains must not increase.
    for k in range(1, len(gains)):
        gains[k] = min(gains[k], gains[k - 1])
    # (steps, V): of equal gains the sort keeps the order, so that narrow steps come first.
    slopes = torch.tensor(gains, dtype=torch.float64).clamp_min(0)[:, None] * weighted
    order = slopes.flatten().argsort(descending=True, stable=True)
    costs = torch.tensor(steps)[:, None].expand(slopes.shape).flatten()[order]
    taken = order[costs.cumsum(0) <= code_bits - d * WIDTHS[0] * len(weighted)]
    return (taken % len(weighted)).bincount(minlength=len(weighted))
