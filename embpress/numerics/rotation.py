"""A fast random rotation of rows of any length that any library can make again from its seed.

    x -> (s * x, as a p x q matrix X) -> A_p X A_q,     p q = d, p the largest divisor of d up to
    its root,

with random signs s and A_n the symmetric orthogonal matrix H (x) C: H the Hadamard matrix
(Sylvester's) of n's largest power of two, C the discrete Hartley transform, cos + sin of 2 pi j k /
m over sqrt(m), of the odd rest m. Every output mixes every input; two small products cost d (p + q)
multiplications a row instead of d^2.
"""

import math

import numpy as np
import torch
from torch import Tensor

from ..errors import UserError

MOST = 2048
"""Largest p or q: their matrices take up to 16 MiB each.

All widths of models split into smaller ones.
"""


class Rotation:
    """R of the seed, orthogonal (d, d), never built.

    Raises:
        UserError: if d has no two factors small enough.
    """

    def __init__(self, d: int, seed: int) -> None:
        if d > MOST**2:
            raise UserError(f"rows of {d} numbers are too long to be rotated: take another method")
        rows = max(n for n in range(1, math.isqrt(d) + 1) if d % n == 0)
        if d // rows > MOST:
            raise UserError(
                f"rows of {d} = {rows} x {d // rows} numbers cannot be rotated fast: take another method"
            )
        self.left = _orthogonal(rows)
        self.right = _orthogonal(d // rows)
        self.signs = torch.from_numpy(
            np.where(splitmix64(seed, d) >> np.uint64(63), -1.0, 1.0).astype(np.float32)
        )

    @property
    def flops(self) -> int:
        """Floating-point operations of one rotated row: those of its two products."""
        p = len(self.left)
        q = len(self.right)
        return 2 * p * q * (p + q)

    def forward(self, x: Tensor) -> Tensor:
        """Rows (n, d) to rows @ R^T."""
        return self._mix(x * self.signs)

    def backward(self, y: Tensor) -> Tensor:
        """Rows (n, d) to rows @ R: undoes `forward`, as the mixing is its own inverse."""
        return self._mix(y).mul_(self.signs)

    def _mix(self, x: Tensor) -> Tensor:
        """A_p X A_q of each row."""
        p = len(self.left)
        q = len(self.right)
        return torch.matmul(self.left, (x.reshape(-1, q) @ self.right).view(-1, p, q)).view(
            -1, p * q
        )


def splitmix64(seed: int, n: int) -> np.ndarray:
    """The first n numbers (uint64) of the generator splitmix64 (Steele, Lea and Flood 2014).

    Started at `seed`.
    """
    z = np.uint64(seed % 2**64) + np.arange(1, n + 1, dtype=np.uint64) * np.uint64(
        0x9E3779B97F4A7C15
    )
    z = (z ^ (z >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
    z = (z ^ (z >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
    return z ^ (z >> np.uint64(31))


def _orthogonal(n: int) -> Tensor:
    """A_n: symmetric, orthogonal, and no entry above sqrt(2 / n)."""
    power = n & -n
    turns = 2 * np.pi * np.outer(np.arange(n // power), np.arange(n // power)) / (n // power)
    matrix: np.ndarray = (np.cos(turns) + np.sin(turns)) / math.sqrt(n)
    while len(matrix) < n:
        matrix = np.kron([[1, 1], [1, -1]], matrix)
    return torch.from_numpy(matrix.astype(np.float32))
