"""Baseline: lattice codewords as in QuIP# (Tseng, Chee, Sun, Kuleshov and De Sa, ICML 2024).

Rows are rotated at random and coded in blocks of eight values with E8P, a codebook of 2^16 points
of a shifted lattice E8 (section 4.2): 2 bits a value, mean squared error 0.0916 of a standard
Gaussian variable, where Lloyd-Max levels have 0.1175 and the bound is 0.0625. For 3 and 4 bits a
second codeword codes the residual (section 4.3).

Differs from the paper:
- no Hessian and no LDLQ, as an embedding has no inputs: each row is coded alone, as well as it can
  be;
- no fine-tuning;
- a scale of least squared error for each row, in fp16, instead of one for the matrix: the norms of
  an embedding's rows differ;
- only rows are rotated, not columns, so that single rows can be decoded;
- 1 bit a value, which the paper uses only for residuals, codes rows too; budgets between two
  numbers of bits are filled as in `turboquant`.
"""

import numpy as np
import torch
from torch import Tensor

from ..formats.rotated_lattice import (
    E8P_SCALE,
    RESIDUAL_SCALES,
    SHORT_SCALE,
    RotatedLattice,
)
from ..numerics.e8_lattice import (
    DIMENSION,
    e8p_codewords,
    nearest_e8p,
    nearest_short,
)
from ..numerics.matrices import Rows
from ._base import Context, Method, Plan
from ._two_widths import encode_two_widths, plan_widths, scale_factors

WIDTHS = (1, 2, 3, 4)


class E8Lattice(Method):
    """The two neighbouring widths, and the share of the wider one, that fill the budget."""

    label = "E8 lattice"
    kind = "baseline"
    has_factors = False
    weighted = True
    supports_streaming = True

    def plan(self, shape: tuple[int, int], ratio: float) -> Plan:
        """See base class."""
        return plan_widths(self.label, RotatedLattice, WIDTHS, shape, ratio)

    def fit(self, matrix: Rows, plan: Plan, context: Context) -> RotatedLattice:
        """See base class."""
        sizes = plan.sizes
        widths = (sizes["narrow"], sizes["wide"])
        compressed = RotatedLattice(plan.shape, widths, sizes["n_wide"], context.seed)

        def encode(rows: Tensor, width: int) -> tuple[Tensor, Tensor]:
            codes = _encode_rows(rows.numpy(), width)
            return codes, scale_factors(rows, compressed.decode_codes(codes, width))

        encode_two_widths(
            matrix, compressed, encode, self.row_weights(context, plan.shape[0]), context
        )
        return compressed


def _encode_rows(rows: np.ndarray, width: int) -> Tensor:
    """Codes of rows (n, d) of mean square 1, as the format packs them: uint8 (n, bytes)."""
    padded = np.pad(rows, ((0, 0), (0, -rows.shape[1] % DIMENSION)))
    blocks = padded.reshape(-1, DIMENSION)
    if width == 1:
        codes = nearest_short(blocks / np.float32(SHORT_SCALE)).astype(np.uint8)
        return torch.from_numpy(codes.reshape(len(rows), -1))
    first = nearest_e8p(blocks / np.float32(E8P_SCALE))
    parts = [_little_endian(first, len(rows))]
    if width > 2:
        residual = blocks - np.float32(E8P_SCALE) * e8p_codewords()[first]
        residual /= np.float32(RESIDUAL_SCALES[width])
        if width == 3:
            parts.append(nearest_short(residual).astype(np.uint8).reshape(len(rows), -1))
        else:
            parts.append(_little_endian(nearest_e8p(residual), len(rows)))
    return torch.from_numpy(np.concatenate(parts, axis=1))


def _little_endian(codes: np.ndarray, n_rows: int) -> np.ndarray:
    """Codes of 16 bits as bytes, the lower one first: (n m,) to uint8 (n, 2 m)."""
    return codes.astype("<u2").view(np.uint8).reshape(n_rows, -1)
