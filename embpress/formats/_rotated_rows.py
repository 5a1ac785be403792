"""Base class of matrices whose rows are coded after a random rotation."""

import math
from abc import abstractmethod

import torch
from torch import Tensor

from ..numerics.rotation import Rotation
from ._base import ROW_BLOCK, CompressedMatrix


class RotatedRows(CompressedMatrix):
    """Rows y_i R, where y_i is decoded from codes.

    The rotation R is not stored: it follows from the seed, which is part of the format's config.
    """

    def __init__(self, shape: tuple[int, int], seed: int) -> None:
        super().__init__(shape)
        self.seed = seed
        self.rotation = Rotation(self.shape[1], seed)

    @abstractmethod
    def rotated_rows(self, ids: Tensor) -> Tensor:
        """Decode rows in the rotated space: int64 ids (n,) to float32 (n, d)."""

    def rows(self, ids: Tensor) -> Tensor:
        """See base class."""
        return self.rotation.backward(self.rotated_rows(ids))

    def product(self, x: Tensor) -> Tensor:
        """See base class; (Y R) x = Y (R x): only x is rotated."""
        rotated = self.rotation.forward(x.float().reshape(-1, self.shape[1])).to(x.dtype)
        blocks = torch.arange(self.shape[0], device=x.device).split(ROW_BLOCK)
        scores = torch.cat(
            [rotated @ self.rotated_rows(ids).to(x.dtype).T for ids in blocks], dim=1
        )
        return scores.view(*x.shape[:-1], self.shape[0])

    def decode_flops(self, n_rows: int) -> int:
        """See base class."""
        return n_rows * self.rotation.flops

    def product_flops(self, n_vectors: int) -> int:
        """See base class."""
        return n_vectors * (self.rotation.flops + 2 * math.prod(self.shape))

    @property
    def stored_floats(self) -> None:
        """None: codes are not floats."""
        return None
