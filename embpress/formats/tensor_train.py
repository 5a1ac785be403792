"""A matrix as a tensor train of three cores (a TT matrix)."""

import math
from typing import Any

import torch
from torch import Tensor

from ._factors import Factor, FactoredMatrix

Triple = tuple[int, int, int]


class TensorTrain(FactoredMatrix):
    """Cores first (v1, d1, r1), middle (v2, r1, d2 r2) and last (v3, r2, d3).

    Row i has the digits i1, i2, i3 of i in the mixed base v1, v2, v3, and is first[i1] middle[i2]
    last[i3], with columns in the order of d1, d2, d3. v1 v2 v3 may exceed the number of rows; d1 d2
    d3 is the number of columns.
    """

    format = "tensor_train"
    first: Tensor
    middle: Tensor
    last: Tensor

    def __init__(
        self,
        shape: tuple[int, int],
        row_modes: Triple,
        column_modes: Triple,
        ranks: tuple[int, int],
        dtype: str = "float32",
    ) -> None:
        super().__init__(shape, dtype, self.factors(row_modes, column_modes, ranks))
        self.row_modes: Triple = (row_modes[0], row_modes[1], row_modes[2])
        self.column_modes: Triple = (column_modes[0], column_modes[1], column_modes[2])
        self.ranks = (ranks[0], ranks[1])

    @staticmethod
    def factors(
        row_modes: Triple, column_modes: Triple, ranks: tuple[int, int]
    ) -> dict[str, Factor]:
        """Stored factors."""
        v1, v2, v3 = row_modes
        d1, d2, d3 = column_modes
        r1, r2 = ranks
        return {
            "first": Factor((v1, d1, r1), axis=2),
            "middle": Factor((v2, r1, d2 * r2), axis=2),
            "last": Factor((v3, r2, d3), axis=0),
        }

    def config(self) -> dict[str, Any]:
        """See base class."""
        return {
            "row_modes": list(self.row_modes),
            "column_modes": list(self.column_modes),
            "ranks": list(self.ranks),
            "dtype": self.dtype_name,
        }

    def rows(self, ids: Tensor) -> Tensor:
        """See base class.

        Rows are grouped by their middle digit: a middle core has far more entries than a row.
        """
        _, v2, v3 = self.row_modes
        d1, d2, _ = self.column_modes
        r2 = self.ranks[1]
        order = (ids // v3 % v2).argsort(stable=True)
        digits, counts = (ids[order] // v3 % v2).unique_consecutive(return_counts=True)
        middles = self.factor_rows("middle", digits)
        decoded = [torch.empty(0, self.shape[1], device=ids.device)]
        for middle, chosen in zip(middles, ids[order].split(counts.tolist())):
            left = self.factor_rows("first", chosen // (v2 * v3)) @ middle
            left = left.view(len(chosen), d1 * d2, r2)
            decoded.append((left @ self.factor_rows("last", chosen % v3)).flatten(1))
        return torch.cat(decoded)[order.argsort()]

    def decode_flops(self, n_rows: int) -> int:
        """See base class."""
        d1, d2, d3 = self.column_modes
        r1, r2 = self.ranks
        return 2 * n_rows * d1 * d2 * r2 * (r1 + d3)


def balanced_rows(n: int) -> Triple:
    """Three numbers, nearly equal, whose product is at least n."""
    v1 = math.ceil(round(n ** (1 / 3), 6))
    v2 = math.ceil(round((n / v1) ** 0.5, 6))
    return v1, v2, -(-n // (v1 * v2))


def balanced_columns(d: int) -> Triple:
    """The three numbers of product d whose largest is the smallest, rising."""
    divisors = [n for n in range(1, d + 1) if d % n == 0]
    triples = [(a, b, d // (a * b)) for a in divisors for b in divisors if d % (a * b) == 0]
    a, b, c = min(triples, key=lambda triple: (max(triple), -min(triple), triple))
    return a, b, c
