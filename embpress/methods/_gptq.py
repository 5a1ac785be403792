"""GPTQ, a baseline: integers of one width in groups of columns, rounded with feedback.

Frantar et al., ICLR 2023 (arXiv 2210.17323). Columns are rounded one after the other, and the error
of each is fed back to those that follow, by the second moment of the layer's inputs. Differences:
columns are taken from the last to the first, as `numerics.feedback` does, and scales are those of
`integer`, without zero points, fixed before the first column is rounded.
"""

from collections.abc import Mapping

import torch

from ..errors import InfeasibleRatio
from ..formats._base import CompressedMatrix
from ..formats.integer_rows import IntegerRows
from ._integer_codes import encode, integer_bits
from ._layer_code import LayerCoder
from .integer import WIDTHS

GROUP = 64
"""Columns that share a scale."""


def code_with_gptq(coders: Mapping[str, LayerCoder], budget: int) -> dict[str, CompressedMatrix]:
    """Round matrices to integers of the widest codes that keep a budget.

    Args:
        coders: coders of the matrices by name.
        budget: bits of all codes together.

    Raises:
        InfeasibleRatio: if codes of one bit do not fit the budget.
    """
    for width in WIDTHS:
        sizes = [integer_bits(c.weight.shape, width, _group(c)) for c in coders.values()]
        if sum(sizes) <= budget:
            return {name: round_gptq(coder, width, _group(coder)) for name, coder in coders.items()}
    raise InfeasibleRatio(
        f"integers of {width} bit in groups of {GROUP} do not fit into {max(budget, 0) // 8} "
        "bytes: use a lower ratio, or allow more bytes"
    )


def round_gptq(coder: LayerCoder, width: int, group: int = 0) -> IntegerRows:
    """Round a matrix to integers, feeding the errors of columns back to those before them.

    Args:
        coder: of the matrix, without a mean row.
        width: bits of a code.
        group: columns that share a scale; 0 for the whole row.
    """
    weight = torch.from_numpy(coder.weight)
    factor = torch.from_numpy(coder.factor)
    n, d = weight.shape
    rounded = IntegerRows((n, d), width, group)
    encode(weight, rounded, lambda message: None)  # which fits the scales
    scale = rounded.scale.float().view(n, -1).repeat_interleave(group or d, 1)[:, :d]
    step = torch.where(scale > 0, scale, 1.0)
    codes = torch.empty(n, d)
    error = torch.zeros(n, d)
    for j in range(d - 1, -1, -1):
        target = weight[:, j] + error[:, j + 1 :] @ factor[j + 1 :, j]
        codes[:, j] = (target / step[:, j] + rounded.centre).round().clamp(0, 2**width - 1)
        error[:, j] = weight[:, j] - scale[:, j] * (codes[:, j] - rounded.centre)
    rounded.store_codes(0, codes)
    return rounded


def _group(coder: LayerCoder) -> int:
    """Columns of a matrix that share a scale: GROUP, or all if it has fewer."""
    return min(GROUP, coder.weight.shape[1])
