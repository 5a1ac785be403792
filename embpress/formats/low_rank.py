"""Row = coefficients x basis (+ bias), as of SVD and of a linear autoencoder."""

from typing import Any

from torch import Tensor

from ._factors import Factor, FactoredMatrix


class LowRank(FactoredMatrix):
    """Factors left (V, k), right (k, d) and optionally bias (d,)."""

    format = "low_rank"
    left: Tensor
    right: Tensor
    bias: Tensor

    def __init__(
        self, shape: tuple[int, int], rank: int, bias: bool = False, dtype: str = "float32"
    ) -> None:
        super().__init__(shape, dtype, self.factors(shape, rank, bias))
        self.rank = rank
        self.has_bias = bias

    @staticmethod
    def factors(shape: tuple[int, int], rank: int, bias: bool = False) -> dict[str, Factor]:
        """Stored factors."""
        factors = {
            "left": Factor((shape[0], rank), axis=0),
            "right": Factor((rank, shape[1]), axis=1),
        }
        return factors | {"bias": Factor((shape[1],))} if bias else factors

    def config(self) -> dict[str, Any]:
        """See base class."""
        return {"rank": self.rank, "bias": self.has_bias, "dtype": self.dtype_name}

    def rows(self, ids: Tensor) -> Tensor:
        """See base class."""
        decoded = self.factor_rows("left", ids) @ self.factor("right")
        return decoded + self.factor("bias") if self.has_bias else decoded

    def product(self, x: Tensor) -> Tensor:
        """See base class; takes k (d + V) multiplications a vector instead of d V."""
        return self._add_bias((x @ self.factor("right").T) @ self.factor("left").T, x)

    def product_with(self, x: Tensor, ids: Tensor) -> Tensor:
        """See base class; decodes the rows where that takes fewer operations, as for few rows."""
        n_vectors = x.numel() // self.shape[1]
        if self._low_rank_flops(n_vectors, len(ids)) > super().product_with_flops(
            n_vectors, len(ids)
        ):
            return super().product_with(x, ids)
        return self._add_bias((x @ self.factor("right").T) @ self.factor_rows("left", ids).T, x)

    def _add_bias(self, scores: Tensor, x: Tensor) -> Tensor:
        return scores + (x @ self.factor("bias"))[..., None] if self.has_bias else scores

    def decode_flops(self, n_rows: int) -> int:
        """See base class."""
        return 2 * self.rank * n_rows * self.shape[1]

    def product_flops(self, n_vectors: int) -> int:
        """See base class."""
        return self._low_rank_flops(n_vectors, self.shape[0])

    def product_with_flops(self, n_vectors: int, n_rows: int) -> int:
        """See base class."""
        return min(
            self._low_rank_flops(n_vectors, n_rows), super().product_with_flops(n_vectors, n_rows)
        )

    def _low_rank_flops(self, n_vectors: int, n_rows: int) -> int:
        """Operations of the two products, and of one with the bias."""
        return (
            2 * n_vectors * (self.rank * (n_rows + self.shape[1]) + self.has_bias * self.shape[1])
        )
