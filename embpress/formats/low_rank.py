"""Row = coefficients x basis (+ bias): SVD's and a linear autoencoder's layout."""

from typing import Any

from torch import Tensor

from .factors import Factor, FactoredMatrix


class LowRank(FactoredMatrix):
    """left (V, k), right (k, d) and, for an autoencoder's decoder, bias (d,)."""

    format = "low_rank"
    left: Tensor
    right: Tensor
    bias: Tensor

    def __init__(self, shape: tuple[int, int], rank: int, bias: bool = False, dtype: str = "float32") -> None:
        super().__init__(shape, dtype, self.factors(shape, rank, bias))
        self.rank, self.has_bias = rank, bias

    @staticmethod
    def factors(shape: tuple[int, int], rank: int, bias: bool = False) -> dict[str, Factor]:
        """What is stored."""
        found = {"left": Factor((shape[0], rank), axis=0), "right": Factor((rank, shape[1]), axis=1)}
        return found | {"bias": Factor((shape[1],))} if bias else found

    def config(self) -> dict[str, Any]:
        """See base class."""
        return {"rank": self.rank, "bias": self.has_bias, "dtype": self.dtype_name}

    def rows(self, ids: Tensor) -> Tensor:
        """See base class."""
        decoded = self.factor_rows("left", ids) @ self.factor("right")
        return decoded + self.factor("bias") if self.has_bias else decoded

    def product(self, x: Tensor) -> Tensor:
        """See base class; k (d + V) multiplications a vector in place of d V."""
        scores = (x @ self.factor("right").T) @ self.factor("left").T
        return scores + (x @ self.factor("bias"))[..., None] if self.has_bias else scores
