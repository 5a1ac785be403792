"""Rows composed of a row for the quotient of the id and one for its remainder (Shi et al. 2020)."""

from typing import Any, Literal

import torch
from torch import Tensor

from ._factors import Factor, FactoredMatrix

Operation = Literal["multiply", "add"]


class QuotientRemainder(FactoredMatrix):
    """Row i = quotient[i n // V] * remainder[i mod m], entry by entry, or their sum.

    Factors are quotient (n, d) and remainder (m, d). With m at least the largest number of ids of
    the same quotient, no two ids have the same pair.
    """

    format = "quotient_remainder"
    quotient: Tensor
    remainder: Tensor

    def __init__(
        self,
        shape: tuple[int, int],
        quotients: int,
        remainders: int,
        operation: Operation = "multiply",
        dtype: str = "float32",
    ) -> None:
        super().__init__(shape, dtype, self.factors(shape, quotients, remainders))
        self.quotients = quotients
        self.remainders = remainders
        self.operation = operation

    @staticmethod
    def factors(shape: tuple[int, int], quotients: int, remainders: int) -> dict[str, Factor]:
        """Stored factors."""
        return {
            "quotient": Factor((quotients, shape[1]), axis=1),
            "remainder": Factor((remainders, shape[1]), axis=1),
        }

    def config(self) -> dict[str, Any]:
        """See base class."""
        return {
            "quotients": self.quotients,
            "remainders": self.remainders,
            "operation": self.operation,
            "dtype": self.dtype_name,
        }

    def positions(self, ids: Tensor) -> tuple[Tensor, Tensor]:
        """Rows of the two factors that make the rows of ids (n,)."""
        return ids * self.quotients // self.shape[0], ids % self.remainders

    def rows(self, ids: Tensor) -> Tensor:
        """See base class."""
        of_quotient, of_remainder = self.positions(ids)
        first = self.factor_rows("quotient", of_quotient)
        second = self.factor_rows("remainder", of_remainder)
        return torch.mul(first, second) if self.operation == "multiply" else first + second
