"""Low rank plus sums of signed decoder rows: row = p Q + sum_j (2 code_j - 1) D_j, LightToken's layout."""

from typing import Any

import torch
from torch import Tensor

from .base import CompressedMatrix


class BinaryResidual(CompressedMatrix):
    """left (V, r), right (r, d), C/8 bytes of codes a row, decoder (C, d).

    Residual codes one after another decode by a sum, so that their bits and decoders stand side by side. C is a multiple of
    8: a row's code is whole bytes, which unpack without shifts across rows.
    """

    format = "binary_residual"

    def __init__(self, shape: tuple[int, int], rank: int, n_bits: int, dtype: str = "float32") -> None:
        super().__init__(shape)
        self.rank, self.n_bits, self.dtype_name = rank, n_bits, dtype
        kind = getattr(torch, dtype)
        self.left: Tensor
        self.right: Tensor
        self.codes: Tensor
        self.decoder: Tensor
        self.register_buffer("left", torch.zeros(shape[0], rank, dtype=kind))
        self.register_buffer("right", torch.zeros(rank, shape[1], dtype=kind))
        self.register_buffer("codes", torch.zeros(shape[0], n_bits // 8, dtype=torch.uint8))
        self.register_buffer("decoder", torch.zeros(n_bits, shape[1], dtype=kind))

    def config(self) -> dict[str, Any]:
        """See base class."""
        return {"rank": self.rank, "n_bits": self.n_bits, "dtype": self.dtype_name}

    def rows(self, ids: Tensor) -> Tensor:
        """See base class."""
        bits = (self.codes[ids][:, :, None] >> torch.arange(8, dtype=torch.uint8)) & 1
        signs = bits.flatten(1).float().mul_(2).sub_(1)
        return self.left[ids].float() @ self.right.float() + signs @ self.decoder.float()

    @property
    def stored_floats(self) -> None:
        """Bits are no floats: the papers' count does not apply."""
        return None
