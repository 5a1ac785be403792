"""A sum of Kronecker products with row vectors: row = sum_r A_r[i] kron B_r."""

from typing import Any

import torch
from torch import Tensor

from ._factors import Factor, FactoredMatrix


class Kronecker(FactoredMatrix):
    """Factors A (R, V, d/n) and B (R, n): row i has row[j n + k] = sum_r A[r, i, j] B[r, k]."""

    format = "kronecker"
    a: Tensor
    b: Tensor

    def __init__(
        self, shape: tuple[int, int], n: int, terms: int = 1, dtype: str = "float32"
    ) -> None:
        super().__init__(shape, dtype, self.factors(shape, n, terms))
        self.n = n
        self.terms = terms

    @staticmethod
    def factors(shape: tuple[int, int], n: int, terms: int = 1) -> dict[str, Factor]:
        """Stored factors."""
        return {
            "a": Factor((terms, shape[0], shape[1] // n), axis=1),
            "b": Factor((terms, n), axis=1),
        }

    def config(self) -> dict[str, Any]:
        """See base class."""
        return {"n": self.n, "terms": self.terms, "dtype": self.dtype_name}

    def rows(self, ids: Tensor) -> Tensor:
        """See base class."""
        return torch.einsum(
            "rvj,rk->vjk", self.factor_rows("a", ids, dim=1), self.factor("b")
        ).flatten(1)

    def product(self, x: Tensor) -> Tensor:
        """See base class; (A kron B) x = A X B^T with x split into X (d/n, n)."""
        pieces = x.unflatten(-1, (self.shape[1] // self.n, self.n))
        return sum((pieces @ b) @ a.T for a, b in zip(self.factor("a"), self.factor("b")))  # type: ignore[return-value]

    def decode_flops(self, n_rows: int) -> int:
        """See base class."""
        return 2 * self.terms * n_rows * self.shape[1] if self.terms > 1 else 0

    def product_flops(self, n_vectors: int) -> int:
        """See base class."""
        rows, d = self.shape
        return 2 * n_vectors * self.terms * (d + rows * d // self.n)
