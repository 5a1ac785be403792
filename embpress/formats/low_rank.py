"""Row = coefficients x basis (+ bias): SVD's and a linear autoencoder's layout."""

from typing import Any

import torch
from torch import Tensor

from .base import CompressedMatrix


class LowRank(CompressedMatrix):
    """left (V, k), right (k, d) and, for an autoencoder's decoder, bias (d,)."""

    format = "low_rank"

    def __init__(self, shape: tuple[int, int], rank: int, bias: bool = False, dtype: str = "float32") -> None:
        super().__init__(shape)
        self.rank, self.dtype_name = rank, dtype
        kind = getattr(torch, dtype)
        self.left: Tensor
        self.right: Tensor
        self.bias: Tensor | None
        self.register_buffer("left", torch.zeros(shape[0], rank, dtype=kind))
        self.register_buffer("right", torch.zeros(rank, shape[1], dtype=kind))
        self.register_buffer("bias", torch.zeros(shape[1], dtype=kind) if bias else None)

    def config(self) -> dict[str, Any]:
        """See base class."""
        return {"rank": self.rank, "bias": self.bias is not None, "dtype": self.dtype_name}

    def rows(self, ids: Tensor) -> Tensor:
        """See base class."""
        decoded = self.left[ids].float() @ self.right.float()
        return decoded if self.bias is None else decoded + self.bias.float()

    def product(self, x: Tensor) -> Tensor:
        """See base class; k (d + V) multiplications a vector in place of d V."""
        scores = (x @ self.right.float().T) @ self.left.float().T
        return scores if self.bias is None else scores + (x @ self.bias.float())[..., None]
