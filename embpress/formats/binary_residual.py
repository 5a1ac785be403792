"""Low rank plus signed sums of decoder rows: row = p Q + sum_j (2 code_j - 1) D_j (LightToken)."""

from typing import Any

import torch
from torch import Tensor

from ._base import ROW_BLOCK
from ._factors import Factor, FactoredMatrix


class BinaryResidual(FactoredMatrix):
    """Factors left (V, r), right (r, d) and decoder (C, d), and C/8 bytes of codes a row.

    Successive residual codes decode to a sum, so that their bits and decoders are concatenated. C
    is a multiple of 8: a row's codes are whole bytes.
    """

    format = "binary_residual"
    left: Tensor
    right: Tensor
    decoder: Tensor

    def __init__(
        self, shape: tuple[int, int], rank: int, n_bits: int, dtype: str = "float32"
    ) -> None:
        super().__init__(shape, dtype, self.factors(shape, rank, n_bits))
        self.rank = rank
        self.n_bits = n_bits
        self.codes: Tensor
        self.register_buffer("codes", torch.zeros(shape[0], n_bits // 8, dtype=torch.uint8))

    @staticmethod
    def factors(shape: tuple[int, int], rank: int, n_bits: int) -> dict[str, Factor]:
        """Factors stored beside the codes."""
        rows, d = shape
        low_rank = {"left": Factor((rows, rank), axis=0), "right": Factor((rank, d), axis=1)}
        return low_rank | {"decoder": Factor((n_bits, d), axis=1)}

    def config(self) -> dict[str, Any]:
        """See base class."""
        return {"rank": self.rank, "n_bits": self.n_bits, "dtype": self.dtype_name}

    def rows(self, ids: Tensor) -> Tensor:
        """See base class."""
        return self.factor_rows("left", ids) @ self.factor("right") + self._signs(
            ids
        ) @ self.factor("decoder")

    def product(self, x: Tensor) -> Tensor:
        """See base class; takes r + C multiplications a row instead of d, and decodes no row."""
        low = x @ self.factor("right").T
        coded = x @ self.factor("decoder").T
        blocks = torch.arange(self.shape[0], device=x.device).split(ROW_BLOCK)
        return torch.cat(
            [low @ self.factor_rows("left", i).T + coded @ self._signs(i).T for i in blocks], dim=-1
        )

    def decode_flops(self, n_rows: int) -> int:
        """See base class."""
        return 2 * n_rows * (self.rank + self.n_bits) * self.shape[1]

    def product_flops(self, n_vectors: int) -> int:
        """See base class."""
        return 2 * n_vectors * (self.rank + self.n_bits) * sum(self.shape)

    def _signs(self, ids: Tensor) -> Tensor:
        """Codes of rows as -1 and 1: ids (n,) to float32 (n, C)."""
        shifts = torch.arange(8, dtype=torch.uint8, device=ids.device)
        bits = (self.codes[ids][:, :, None] >> shifts) & 1
        return bits.flatten(1).float().mul_(2).sub_(1)

    @property
    def stored_floats(self) -> None:
        """None: codes are not floats."""
        return None
