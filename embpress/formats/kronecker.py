"""A sum of Kronecker products with row vectors: row = sum_r A_r[i] kron B_r."""

from typing import Any

import torch
from torch import Tensor

from .base import CompressedMatrix


class Kronecker(CompressedMatrix):
    """A (R, V, d/n) and B (R, n); as torch.kron orders it, row[j n + k] = sum_r A[r, i, j] B[r, k]."""

    format = "kronecker"

    def __init__(self, shape: tuple[int, int], n: int, terms: int = 1, dtype: str = "float32") -> None:
        super().__init__(shape)
        self.n, self.terms, self.dtype_name = n, terms, dtype
        kind = getattr(torch, dtype)
        self.a: Tensor
        self.b: Tensor
        self.register_buffer("a", torch.zeros(terms, shape[0], shape[1] // n, dtype=kind))
        self.register_buffer("b", torch.zeros(terms, n, dtype=kind))

    def config(self) -> dict[str, Any]:
        """See base class."""
        return {"n": self.n, "terms": self.terms, "dtype": self.dtype_name}

    def rows(self, ids: Tensor) -> Tensor:
        """See base class."""
        return torch.einsum("rvj,rk->vjk", self.a[:, ids].float(), self.b.float()).flatten(1)

    def product(self, x: Tensor) -> Tensor:
        """See base class; (A kron B) x = A (X B^T) with x cut into d/n pieces of n."""
        pieces = x.unflatten(-1, (self.shape[1] // self.n, self.n))
        return sum((pieces @ b) @ a.T for a, b in zip(self.a.float(), self.b.float()))  # type: ignore[return-value]
