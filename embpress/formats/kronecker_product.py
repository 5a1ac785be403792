"""A sum of Kronecker products of matrices: W = sum_r A_r kron B_r."""

from typing import Any

import torch
from torch import Tensor

from ._factors import Factor, FactoredMatrix


class KroneckerProduct(FactoredMatrix):
    """Factors A (R, V/m, d/n) and B (R, m, n).

    W[i m + l, j n + k] = sum_r A[r, i, j] B[r, l, k]. A product with a vector x is vec(sum_r A_r X
    B_r^T), where X (d/n, n) is x split into pieces of n (Tahaei et al. 2022): two small products,
    of which the cheaper one is computed first. With many terms the product with the decoded matrix
    may take fewer operations; then the matrix is decoded.
    """

    format = "kronecker_product"
    a: Tensor
    b: Tensor

    def __init__(
        self, shape: tuple[int, int], m: int, n: int, terms: int = 1, dtype: str = "float32"
    ) -> None:
        super().__init__(shape, dtype, self.factors(shape, m, n, terms))
        self.m = m
        self.n = n
        self.terms = terms

    @staticmethod
    def factors(shape: tuple[int, int], m: int, n: int, terms: int = 1) -> dict[str, Factor]:
        """Stored factors."""
        return {
            "a": Factor((terms, shape[0] // m, shape[1] // n), axis=2),
            "b": Factor((terms, m, n), axis=2),
        }

    def config(self) -> dict[str, Any]:
        """See base class."""
        return {"m": self.m, "n": self.n, "terms": self.terms, "dtype": self.dtype_name}

    def rows(self, ids: Tensor) -> Tensor:
        """See base class."""
        a = self.factor_rows("a", ids // self.m, dim=1)
        b = self.factor_rows("b", ids % self.m, dim=1)
        return torch.einsum("rvj,rvk->vjk", a, b).flatten(1)

    def product(self, x: Tensor) -> Tensor:
        """See base class."""
        vectors = x.reshape(-1, self.shape[1])
        a_first, b_first, dense = self._costs(len(vectors))
        if dense < min(a_first, b_first):
            return super().product(x)
        a = self.factor("a")
        b = self.factor("b")
        pieces = vectors.view(-1, self.shape[1] // self.n, self.n)
        # The dimension of the larger factor stays the inner one, so that both products run over
        # contiguous memory.
        if a[0].numel() > b[0].numel():
            products = _multiply(pieces.transpose(1, 2), b, a, b_first <= a_first).transpose(1, 2)
        else:
            products = _multiply(pieces, a, b, a_first < b_first)
        return products.reshape(*x.shape[:-1], self.shape[0])

    def _costs(self, n_vectors: int) -> tuple[int, int, int]:
        """Operations of a product: A first, B first, and with the decoded matrix."""
        height = self.shape[0] // self.m  # of A
        width = self.shape[1] // self.n
        each = 2 * n_vectors * self.terms
        return (
            each * height * self.n * (width + self.m),
            each * width * self.m * (self.n + height),
            super().product_flops(n_vectors),
        )

    def decode_flops(self, n_rows: int) -> int:
        """See base class."""
        return 2 * self.terms * n_rows * self.shape[1] if self.terms > 1 else 0

    def product_flops(self, n_vectors: int) -> int:
        """See base class: operations of the cheapest order."""
        return min(self._costs(n_vectors))


def _multiply(z: Tensor, left: Tensor, right: Tensor, left_first: bool) -> Tensor:
    """sum_r left_r Z right_r^T for each Z: (N, p, q), (R, P, p) and (R, Q, q) to (N, P, Q)."""
    terms = len(left)
    if left_first:
        mixed = (
            (left.flatten(0, 1) @ z).unflatten(1, (terms, -1)).transpose(1, 2).flatten(2)
        )  # (N, P, R q)
        return mixed @ right.transpose(1, 2).flatten(0, 1)
    mixed = (
        (z @ right.flatten(0, 1).T).unflatten(2, (terms, -1)).transpose(1, 2).flatten(1, 2)
    )  # (N, R p, Q)
    return left.transpose(0, 1).flatten(1) @ mixed
