"""A fast random rotation of rows of any length, fully determined by its seed.

    x -> (s * x, as a p x q matrix X) -> A_p X A_q,

where p q = d, p is the largest divisor of d up to sqrt(d), s are random signs, and A_n is the
symmetric orthogonal matrix H (x) C: H is Sylvester's Hadamard matrix of the largest power of two
that divides n, and C the discrete Hartley transform of the odd rest m, (cos + sin)(2 pi j k / m) /
sqrt(m). Every output depends on every input. The two small products take d (p + q) multiplications
per row instead of d^2.
"""

import math

import numpy as np
import torch
from torch import Tensor, nn

from ..errors import UserError

MAX_FACTOR = 2048
"""Largest p or q: their matrices take up to 16 MiB each."""


class Rotation(nn.Module):
    """The orthogonal matrix R (d, d) of a seed, applied without building it.

    Its factors are buffers that are not saved, so that they move with the matrix that it rotates.

    Raises:
        UserError: if d has no two factors up to `MAX_FACTOR`.
    """

    def __init__(self, d: int, seed: int) -> None:
        super().__init__()
        if d > MAX_FACTOR**2:
            raise UserError(f"rows of {d} numbers are too long to rotate: use another method")
        rows = max(n for n in range(1, math.isqrt(d) + 1) if d % n == 0)
        if d // rows > MAX_FACTOR:
            raise UserError(
                f"rows of {d} = {rows} x {d // rows} numbers cannot be rotated fast: use another "
                "method"
            )
        self.left: Tensor
        self.right: Tensor
        self.signs: Tensor
        signs = np.where(splitmix64(seed, d) >> np.uint64(63), -1.0, 1.0).astype(np.float32)
        self.register_buffer("left", _orthogonal(rows), persistent=False)
        self.register_buffer("right", _orthogonal(d // rows), persistent=False)
        self.register_buffer("signs", torch.from_numpy(signs), persistent=False)

    @property
    def flops(self) -> int:
        """Floating-point operations of the two products of one row."""
        p = len(self.left)
        q = len(self.right)
        return 2 * p * q * (p + q)

    def forward(self, x: Tensor) -> Tensor:
        """Rotate rows (n, d): rows @ R^T."""
        return self._mix(x * self.signs)

    def backward(self, y: Tensor) -> Tensor:
        """Invert `forward`: rows (n, d) @ R. The matrices A_n are their own inverses."""
        return self._mix(y).mul_(self.signs)

    def _mix(self, x: Tensor) -> Tensor:
        """A_p X A_q of each row."""
        p = len(self.left)
        q = len(self.right)
        return torch.matmul(self.left, (x.reshape(-1, q) @ self.right).view(-1, p, q)).view(
            -1, p * q
        )


def splitmix64(seed: int, n: int) -> np.ndarray:
    """First n outputs, uint64, of the generator splitmix64 of a seed (Steele et al. 2014)."""
    z = np.uint64(seed % 2**64) + np.arange(1, n + 1, dtype=np.uint64) * np.uint64(
        0x9E3779B97F4A7C15
    )
    z = (z ^ (z >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
    z = (z ^ (z >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
    return z ^ (z >> np.uint64(31))


def _orthogonal(n: int) -> Tensor:
    """A_n: symmetric and orthogonal, entries of at most sqrt(2 / n)."""
    power = n & -n
    turns = 2 * np.pi * np.outer(np.arange(n // power), np.arange(n // power)) / (n // power)
    matrix: np.ndarray = (np.cos(turns) + np.sin(turns)) / math.sqrt(n)
    while len(matrix) < n:
        matrix = np.kron([[1, 1], [1, -1]], matrix)
    return torch.from_numpy(matrix.astype(np.float32))
