"""A sum of Kronecker products of matrices: W = sum_r A_r kron B_r."""

from typing import Any

import torch
from torch import Tensor

from .factors import Factor, FactoredMatrix


class KroneckerProduct(FactoredMatrix):
    """A (R, V/m, d/n) and B (R, m, n); as torch.kron orders it, W[i m + l, j n + k] = sum_r A[r, i, j] B[r, l, k].

    A product with a vector x is vec(sum_r A_r X B_r^T), X the vector cut into d/n pieces of n (Tahaei et al. 2022): two
    small products, the cheaper one first. With many terms the dense matrix's may cost less, which then is built.
    """

    format = "kronecker_product"
    a: Tensor
    b: Tensor

    def __init__(self, shape: tuple[int, int], m: int, n: int, terms: int = 1, dtype: str = "float32") -> None:
        super().__init__(shape, dtype, self.factors(shape, m, n, terms))
        self.m, self.n, self.terms = m, n, terms

    @staticmethod
    def factors(shape: tuple[int, int], m: int, n: int, terms: int = 1) -> dict[str, Factor]:
        """What is stored."""
        return {"a": Factor((terms, shape[0] // m, shape[1] // n), axis=2), "b": Factor((terms, m, n), axis=2)}

    def config(self) -> dict[str, Any]:
        """See base class."""
        return {"m": self.m, "n": self.n, "terms": self.terms, "dtype": self.dtype_name}

    def rows(self, ids: Tensor) -> Tensor:
        """See base class."""
        a, b = self.factor_rows("a", ids // self.m, dim=1), self.factor_rows("b", ids % self.m, dim=1)
        return torch.einsum("rvj,rvk->vjk", a, b).flatten(1)

    def product(self, x: Tensor) -> Tensor:
        """See base class."""
        vectors = x.reshape(-1, self.shape[1])
        a_first, b_first, dense = self._costs(len(vectors))
        if dense < min(a_first, b_first):
            return super().product(x)
        pieces = vectors.view(-1, self.shape[1] // self.n, self.n)
        found = self._a_first(pieces) if a_first < b_first else self._b_first(pieces)
        return found.reshape(*x.shape[:-1], self.shape[0])

    def _a_first(self, pieces: Tensor) -> Tensor:
        """(A X) B^T of all terms: (N, d/n, n) to (N, V/m, m)."""
        a, b, terms = self.factor("a"), self.factor("b"), self.terms
        mixed = pieces.transpose(1, 2) @ a.flatten(0, 1).T  # (N, n, R V/m)
        mixed = mixed.unflatten(2, (terms, -1)).permute(0, 3, 2, 1).flatten(2)  # (N, V/m, R n)
        return mixed @ b.transpose(1, 2).flatten(0, 1)

    def _b_first(self, pieces: Tensor) -> Tensor:
        """A (X B^T) of all terms: (N, d/n, n) to (N, V/m, m)."""
        a, b, terms = self.factor("a"), self.factor("b"), self.terms
        mixed = pieces @ b.flatten(0, 1).T  # (N, d/n, R m)
        mixed = mixed.unflatten(2, (terms, -1)).permute(0, 3, 2, 1).flatten(2)  # (N, m, R d/n)
        return (mixed @ a.transpose(1, 2).flatten(0, 1)).transpose(1, 2)

    def _costs(self, n_vectors: int) -> tuple[int, int, int]:
        """Operations of a product with so many vectors: A first, B first, and by the dense matrix."""
        (rows, d), m, n = self.shape, self.m, self.n
        high, wide = rows // m, d // n  # of A
        each = 2 * n_vectors * self.terms
        return each * high * n * (wide + m), each * wide * m * (n + high), super().product_flops(n_vectors)

    def decode_flops(self, n_rows: int) -> int:
        """See base class."""
        return 2 * self.terms * n_rows * self.shape[1] if self.terms > 1 else 0

    def product_flops(self, n_vectors: int) -> int:
        """See base class: the least of the ways there are."""
        return min(self._costs(n_vectors))
