"""TurboQuant (Zandieh, Daliri, Hadian and Mirrokni, arXiv 2504.19874, 2025), the quantizer of least
squared error (Algorithm 1).

Idea: after a random rotation every coordinate of a row of norm 1 has the same law, a Beta law near
the Gaussian of variance 1/d (Lemma 1): each coordinate is coded with the Lloyd-Max levels of that
law, which need no data. A row takes b d bits and its norm. At b = 1, 2, 3, 4 the mean squared error
of a row of norm 1 is 0.36, 0.117, 0.03 and 0.009 (Theorem 1).

Differs from the paper:
- the rotation is a fast one of random signs and Hadamard and Hartley matrices
  (`numerics.rotation`), not the Q of a Gaussian matrix, which would have to be stored or drawn
  anew;
- the norm is an fp16 number;
- budgets between two numbers of bits are filled: rows of the largest weighted energy get one bit
  more than the others, and a bitmap marks them. With `weighting: counts` these are mostly the
  frequent rows;
- up to 8 bits instead of 4, so that ratios below 8 are reached;
- the variant for inner products, with a bit of the residual's projection, is left out, as it has
  the larger squared error.

Option: `law`, beta (the exact law) or gaussian (its limit).
"""

from dataclasses import dataclass
from typing import Literal

import torch
from torch import Tensor

from ..formats.rotated_levels import RotatedLevels
from ..numerics import bits as packing
from ..numerics.matrices import Rows
from ._base import Context, Method, Options, Plan
from ._two_widths import encode_two_widths, plan_widths

WIDTHS = (1, 2, 3, 4, 5, 6, 7, 8)


@dataclass(frozen=True)
class TurboQuantOptions(Options):
    """The law whose Lloyd-Max levels are used."""

    law: Literal["beta", "gaussian"] = "beta"


class TurboQuant(Method):
    """The two neighbouring widths, and the share of the wider one, that fill the budget."""

    label = "TurboQuant"
    kind = "paper"
    citation = "zandieh2025turboquant"
    has_factors = False
    weighted = True
    supports_streaming = True
    Options = TurboQuantOptions

    def plan(self, shape: tuple[int, int], ratio: float) -> Plan:
        """See base class."""
        return plan_widths(self.label, RotatedLevels, WIDTHS, shape, ratio)

    def fit(self, matrix: Rows, plan: Plan, context: Context) -> RotatedLevels:
        """See base class."""
        sizes = plan.sizes
        widths = (sizes["narrow"], sizes["wide"])
        compressed = RotatedLevels(
            plan.shape, widths, sizes["n_wide"], context.seed, self.options.law
        )

        def encode(rows: Tensor, width: int) -> tuple[Tensor, Tensor]:
            levels = compressed.levels_of(width)
            codes = torch.bucketize(rows, (levels[1:] + levels[:-1]) / 2)
            return packing.pack_rows(codes, width), torch.ones(len(rows))

        encode_two_widths(
            matrix, compressed, encode, self.row_weights(context, plan.shape[0]), context
        )
        return compressed
