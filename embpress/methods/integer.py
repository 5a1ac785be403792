"""Baseline: integers of 8 to 1 bits with one fp16 scale per row or per group of columns.

This is what quantization libraries offer for embeddings: V (b d + 16) bits with a scale per row,
3.98x and 7.92x at d = 384. The grid is symmetric and spans all values of a group; below 4 bits its
scale is the one of least squared error instead.

Options: `bits`, of all rows; with 0 the budget is spent: the rows of most weighted energy have the
next wider codes, as many as fit, where the weights are smoothed counts if these are known; `group`;
`straight_through` makes the codes trainable by the protocols that train compressed matrices.
"""

from dataclasses import dataclass
from functools import partial
from typing import Any, Literal

from torch import Tensor

from ..errors import UserError
from ..formats._base import CompressedMatrix
from ..formats.integer_rows import IntegerRows
from ..formats.row_tiers import RowTiers, Tier, tier_map_bytes
from ..numerics.matrices import Rows
from ._base import Context, Method, Options, Plan, budget_bits, infeasible
from ._integer_codes import encode, integer_bits
from ._row_tiers import expected_energies, fill_tiers, first_tier, most_wide_rows

WIDTHS = (8, 6, 5, 4, 3, 2, 1)


@dataclass(frozen=True)
class IntegerOptions(Options):
    """Width of the codes, how many columns share a scale, and whether codes can be trained."""

    bits: Literal[0, 8, 6, 5, 4, 3, 2, 1] = 0
    """Bits of a code; 0 uses two neighbouring widths that spend the budget."""
    group: int = 0
    """Columns that share a scale; 0 for the whole row."""
    straight_through: bool = False
    """Training of the compressed matrix trains the codes, with a straight-through estimator."""

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
        widths = (self.options.bits,) if self.options.bits else WIDTHS
        for wider, width in zip((0, *widths), widths):
            size = integer_bits(shape, width, self.options.group)
            if size > budget:
                continue
            n_wide = 0
            if wider:
                tiers = partial(self._tier_bits, shape, wider, width)
                n_wide = most_wide_rows(shape[0], budget, tiers)
            if not n_wide:
                return Plan(shape, ratio, bits=size, sizes={"width": width})
            size = 8 * tier_map_bytes(shape[0], 2) + tiers(n_wide)
            sizes = {"width": width, "wider": wider, "n_wide": n_wide}
            return Plan(shape, ratio, bits=size, sizes=sizes)
        raise infeasible(f"A matrix of int{width} rows", shape, 32 * shape[0] * shape[1] / size)

    def _tier_bits(self, shape: tuple[int, int], wider: int, width: int, n_wide: int) -> int:
        """Bits of n_wide rows of the wider codes and all others of the narrower ones."""
        wide = integer_bits((n_wide, shape[1]), wider, self.options.group)
        return wide + integer_bits((shape[0] - n_wide, shape[1]), width, self.options.group)

    def fit(self, matrix: Rows, plan: Plan, context: Context) -> IntegerRows | RowTiers:
        """See base class. With two widths the matrix is read twice."""
        options = self.options
        rows, d = plan.shape
        width = plan.sizes["width"]
        straight = options.straight_through
        if "n_wide" not in plan.sizes:
            compressed = IntegerRows(plan.shape, width, options.group, straight_through=straight)
            encode(matrix, compressed, context.progress)
            return compressed

        def fill(part: CompressedMatrix, ids: Tensor) -> None:
            assert isinstance(part, IntegerRows)
            encode(matrix, part, context.progress, ids)

        n_wide = plan.sizes["n_wide"]
        tiers = [
            integer_tier(n_wide, plan.sizes["wider"], options.group, straight),
            integer_tier(rows - n_wide, width, options.group, straight),
        ]
        tier_of_row = first_tier(expected_energies(matrix, context), n_wide)
        return fill_tiers(plan.shape, tiers, tier_of_row, fill)


def integer_tier(n_rows: int, width: int, group: int, straight_through: bool) -> Tier:
    """A tier of integer codes without minima."""
    config: dict[str, Any] = {"width": width, "group": group, "minima": False}
    if straight_through:
        config["straight_through"] = True
    return {"format": IntegerRows.format, "rows": n_rows, "config": config}
