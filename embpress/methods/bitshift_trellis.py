"""Baseline: trellis-coded quantization at a fixed rate as in QTIP (Tseng, Sun, Hou and De Sa,
NeurIPS 2024) and in EXL3.

Rows are rotated at random, which makes their values nearly Gaussian, and coded with k bits a value
on a bitshift trellis whose states decode to computed Gaussian values. With states of 16 bits the
paper reports a mean squared error of 0.069 at 2 bits (Table 1), where Lloyd-Max levels have 0.1175
and the bound is 0.0625; with the default of 10 bits it is 0.078.

Differs from the paper:
- no Hessian and no block LDLQ, as an embedding has no inputs: each row is one sequence, coded
  alone;
- states of 10 bits instead of 16, as the search takes time in proportion to 2^L: for MiniLM's table
  about 10 seconds of one core at 10 bits, and 12 minutes at 16. Option `state_bits`;
- a scale of least squared error for each row, in fp16;
- code 1MAD at every rate; 1 bit a value too;
- budgets between two numbers of bits are filled as in `turboquant`.
"""

from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import Literal

import numpy as np
import torch
from torch import Tensor

from ..formats.rotated_trellis import RotatedTrellis
from ..numerics import bits as packing
from ..numerics.bitshift_trellis import LANES, encode_sequences, state_width
from ..numerics.matrices import Rows
from ._base import Context, Method, Options, Plan
from ._two_widths import encode_two_widths, plan_widths, scale_factors

WIDTHS = (1, 2, 3, 4)


@dataclass(frozen=True)
class BitshiftTrellisOptions(Options):
    """Size of the trellis."""

    state_bits: Literal[8, 9, 10, 12, 14, 16] = 10
    """Bits of a state, L."""


class BitshiftTrellis(Method):
    """The two neighbouring widths, and the share of the wider one, that fill the budget."""

    label = "fixed-rate trellis"
    kind = "baseline"
    has_factors = False
    weighted = True
    supports_streaming = True
    Options = BitshiftTrellisOptions

    def plan(self, shape: tuple[int, int], ratio: float) -> Plan:
        """See base class."""
        return plan_widths(self.label, RotatedTrellis, WIDTHS, shape, ratio)

    def fit(self, matrix: Rows, plan: Plan, context: Context) -> RotatedTrellis:
        """See base class."""
        sizes = plan.sizes
        compressed = RotatedTrellis(
            plan.shape,
            (sizes["narrow"], sizes["wide"]),
            sizes["n_wide"],
            context.seed,
            self.options.state_bits,
        )

        def encode(rows: Tensor, width: int) -> tuple[Tensor, Tensor]:
            codes = packing.pack_rows(_encode_rows(rows, width, self.options.state_bits), width)
            return codes, scale_factors(rows, compressed.decode_codes(codes, width))

        encode_two_widths(
            matrix, compressed, encode, self.row_weights(context, plan.shape[0]), context
        )
        return compressed


def _encode_rows(rows: Tensor, width: int, state_bits: int) -> Tensor:
    """Codes of rows (n, d) of mean square 1, in threads: uint8 (n, d)."""
    total = state_width(state_bits, width, rows.shape[1])
    n_threads = torch.get_num_threads()
    size = max(1, -(-len(rows) // n_threads // LANES)) * LANES
    with ThreadPoolExecutor(n_threads) as pool:
        parts = pool.map(
            lambda part: encode_sequences(part.numpy(), width, total), rows.split(size)
        )
        return torch.from_numpy(np.concatenate(list(parts)))
