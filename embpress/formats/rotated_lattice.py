"""Rotated rows of codewords from the lattice E8 (QuIP#'s E8P)."""

import torch
from torch import Tensor

from ..numerics.e8_lattice import DIMENSION, e8_short_codewords, e8p_codewords
from ._two_widths import TwoWidthRows

E8P_SCALE = 0.97
"""Scale of E8P for standard Gaussian values, with the least squared error in steps of 0.01."""
SHORT_SCALE = 1.65
"""The same of the codebook of 1 bit a value."""
RESIDUAL_SCALES = {3: 0.5, 4: 0.29}
"""Scale of the second codeword by width: of 1 bit at width 3, of E8P at width 4."""


class RotatedLattice(TwoWidthRows):
    """Eight values take a codeword of 1 or 2 bits a value, or the sum of two, by width 1 to 4.

    Width 2 is a codeword of E8P (2 bytes); width 1 one of the codebook of 256 points of E8 (1
    byte); widths 3 and 4 add to E8P a scaled codeword of either. A row's codes are those of E8P of
    all its blocks, then the others. Rows are filled up with zeros to a multiple of eight.
    """

    format = "rotated_lattice"

    def __init__(
        self, shape: tuple[int, int], widths: tuple[int, int], n_wide: int = 0, seed: int = 0
    ) -> None:
        super().__init__(shape, widths, n_wide, seed)
        self.e8p: Tensor
        self.short: Tensor
        self.register_buffer("e8p", torch.from_numpy(e8p_codewords()), persistent=False)
        self.register_buffer("short", torch.from_numpy(e8_short_codewords()), persistent=False)

    @staticmethod
    def code_bytes(d: int, width: int) -> int:
        """See base class."""
        return width * -(-d // DIMENSION)

    def decode_codes(self, codes: Tensor, width: int) -> Tensor:
        """See base class."""
        blocks = codes.shape[1] // width
        if width == 1:
            values = self.short.index_select(0, codes.flatten().int()).mul(SHORT_SCALE)
        else:
            values = self._e8p_values(codes[:, : 2 * blocks]).mul_(E8P_SCALE)
        rest = codes[:, 2 * blocks :]
        if width == 3:
            values.add_(self.short.index_select(0, rest.flatten().int()), alpha=RESIDUAL_SCALES[3])
        elif width == 4:
            values.add_(self._e8p_values(rest), alpha=RESIDUAL_SCALES[4])
        return values.view(len(codes), blocks * DIMENSION)[:, : self.shape[1]]

    def _e8p_values(self, codes: Tensor) -> Tensor:
        """Codewords of little-endian codes: uint8 (n, 2 m) to float32 (n m, 8)."""
        pairs = codes.reshape(-1, 2).int()
        return self.e8p.index_select(0, pairs[:, 0] | pairs[:, 1] << 8)
