"""Plan and fit of the formats whose rows have one of two widths (`formats._two_widths`)."""

from collections.abc import Callable, Sequence

import torch
from torch import Tensor

from ..formats._base import row_block
from ..formats._factors import check_fp16_range
from ..formats._two_widths import TwoWidthRows
from ..numerics import bits as packing
from ..numerics.matrices import Rows
from ._base import Context, Plan, budget_bits, infeasible, largest
from ._row_tiers import row_energies

Encoder = Callable[[Tensor, int], tuple[Tensor, Tensor]]
"""Encodes rotated rows (n, d) of norm sqrt(d) with a width.

Returns uint8 codes (n, code_bytes), and float32 factors (n,) of the rows' scales.
"""


def plan_widths(
    label: str,
    format_class: type[TwoWidthRows],
    widths: Sequence[int],
    shape: tuple[int, int],
    ratio: float,
) -> Plan:
    """Choose two neighbouring widths, and how many rows get the wider one, to fill the budget.

    Args:
        label: name of the method in messages.
        format_class: the format that is stored.
        widths: possible widths, rising.
        shape: of the matrix.
        ratio: dense fp32 bits / stored bits.

    Raises:
        InfeasibleRatio: if all rows in the first width do not fit.
    """
    n_rows, d = shape
    budget = budget_bits(shape, ratio)
    fitting = [i for i, w in enumerate(widths) if format_class.size(shape, (w, w), 0) <= budget]
    if not fitting:
        least = format_class.size(shape, (widths[0], widths[0]), 0)
        raise infeasible(label, shape, 32 * n_rows * d / least)
    narrow = widths[fitting[-1]]
    wide = widths[min(fitting[-1] + 1, len(widths) - 1)]
    n_wide = 0
    if wide > narrow:
        n_wide = largest(
            lambda n: format_class.size(shape, (narrow, wide), n), budget, max(n_rows - 1, 0)
        )
    size = format_class.size(shape, (narrow, wide), n_wide)
    return Plan(shape, ratio, size, {"narrow": narrow, "wide": wide, "n_wide": n_wide})


def encode_two_widths(
    matrix: Rows, compressed: TwoWidthRows, encode: Encoder, weights: Tensor, context: Context
) -> None:
    """Fill a compressed matrix. The matrix is read twice, by blocks of rows.

    A wider code saves a share of a row's energy that is about the same for all rows: the wide rows
    are those of the largest weighted energy.
    """
    n_rows, d = compressed.shape
    step = row_block(d)
    starts = range(0, n_rows, step)
    energy = row_energies(matrix)
    order = (weights.double() * energy).argsort(descending=True, stable=True)
    is_wide = torch.zeros(n_rows, dtype=torch.bool)
    is_wide[order[: compressed.n_wide]] = True
    if compressed.n_wide:
        compressed.is_wide.copy_(packing.pack(is_wide.int(), 1))
    filled = [0, 0]
    for start in starts:
        rows = compressed.rotation.forward(matrix[start : start + step].float())
        stop = start + len(rows)
        root_mean_square = (energy[start:stop] / d).sqrt().float()
        unit = rows / root_mean_square.clamp_min(1e-30)[:, None]
        for kind, codes in enumerate((compressed.codes, compressed.wide_codes)):
            chosen = (is_wide[start:stop] == bool(kind)).nonzero()[:, 0]
            if not len(chosen):
                continue
            packed, factor = encode(unit[chosen], compressed.widths[kind])
            codes[filled[kind] : filled[kind] + len(chosen)] = packed
            filled[kind] += len(chosen)
            compressed.scale[start + chosen] = (root_mean_square[chosen] * factor).half()
        check_fp16_range(compressed.scale[start:stop], rows, start)
        context.progress(f"{stop}/{n_rows} rows")


def scale_factors(rows: Tensor, decoded: Tensor) -> Tensor:
    """Factors (n,) by which decoded rows (n, d) have the least squared error to rows (n, d)."""
    product = (rows * decoded).sum(1)
    return product / decoded.square().sum(1).clamp_min(1e-30)
