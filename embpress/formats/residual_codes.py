"""Groups of columns as sums of centroids (residual vector quantization), and a corrective network.

The format of CARVQ (`methods.carvq`).
"""

from typing import Any, NamedTuple

import torch
from torch import Tensor

from ..numerics import bits
from ._factors import Factor, FactoredMatrix
from ._gathering import gather

CODE_BITS = 4
"""Bits of a code: every codebook has 16 centroids."""


class Sizes(NamedTuple):
    """What a row is made of."""

    block: int
    """Columns of a group, h; the last group is filled up with zeros."""
    codes: int
    """Codes of a row, of all groups together."""
    latent: int
    """Width of the adaptor's input, m; 0 for no adaptor."""
    hidden: int
    """Width of the adaptor's hidden layer; 0 for no adaptor."""

    def groups(self, d: int) -> int:
        """Number of groups of d columns."""
        return -(-d // self.block)


class ResidualCodes(FactoredMatrix):
    """Row = sums of centroids of each group + W1 relu(W0 z + b0) + b1 with the row's latent z (m,).

    Every group has codes // groups codes, and the groups that the buffer `extra` marks have one
    more. Codes of 4 bits are packed row by row in whole bytes: the first codes of all groups, then
    the second ones, and so on. The factor codebook (codes, 16 h) has the centroids in this order.
    """

    format = "residual_codes"
    codebook: Tensor

    def __init__(
        self,
        shape: tuple[int, int],
        block: int,
        codes: int,
        latent: int = 0,
        hidden: int = 0,
        dtype: str = "float32",
    ) -> None:
        self.sizes = Sizes(block, codes, latent, hidden)
        super().__init__(shape, dtype, self.factors(shape, self.sizes))
        self.codes: Tensor
        self.extra: Tensor
        self.table: Tensor
        n_bytes = bits.packed_bytes(codes, CODE_BITS)
        groups = self.sizes.groups(self.shape[1])
        self.register_buffer("codes", torch.zeros(shape[0], n_bytes, dtype=torch.uint8))
        extra = (torch.arange(groups) < codes % groups).to(torch.uint8)
        self.register_buffer("extra", extra)
        # All centroids in float32.
        self.register_buffer("table", torch.zeros(16 * codes, block), persistent=False)

    @staticmethod
    def factors(shape: tuple[int, int], sizes: Sizes) -> dict[str, Factor]:
        """Factors stored beside the codes."""
        factors = {"codebook": Factor((sizes.codes, 16 * sizes.block), axis=1)}
        if not sizes.latent:
            return factors
        return factors | {
            "latents": Factor((shape[0], sizes.latent), axis=0),
            "weight0": Factor((sizes.hidden, sizes.latent), axis=1),
            "bias0": Factor((sizes.hidden,)),
            "weight1": Factor((shape[1], sizes.hidden), axis=1),
            "bias1": Factor((shape[1],)),
        }

    @staticmethod
    def code_bits(shape: tuple[int, int], sizes: Sizes) -> int:
        """Bits of the codes and of the marks of the groups."""
        row_bytes = bits.packed_bytes(sizes.codes, CODE_BITS)
        return 8 * (shape[0] * row_bytes + sizes.groups(shape[1]))

    def config(self) -> dict[str, Any]:
        """See base class."""
        return {**self.sizes._asdict(), "dtype": self.dtype_name}

    def prepare(self) -> None:
        """See base class."""
        self.table = self._centroids()

    def rows(self, ids: Tensor) -> Tensor:
        """See base class."""
        n, d = len(ids), self.shape[1]
        block, codes, latent, _ = self.sizes
        groups = self.sizes.groups(d)
        index = bits.unpack_rows(self.codes.index_select(0, ids), CODE_BITS, codes).int()
        index = index + 16 * torch.arange(codes, dtype=torch.int32, device=ids.device)
        # While the codebook is trained, the table is out of date.
        table = self._centroids() if "codebook" in self._parameters else self.table
        parts = gather(table, index.flatten()).view(n, codes, block)
        whole = codes // groups * groups
        decoded = parts[:, :whole].reshape(n, codes // groups, groups, block).sum(1)
        if codes > whole:
            marked = self.extra.nonzero()[:, 0]
            decoded = decoded.index_add(1, marked, parts[:, whole:])
        decoded = decoded.flatten(1)[:, :d]
        return decoded + self.correction(self.factor_rows("latents", ids)) if latent else decoded

    def correction(self, latents: Tensor) -> Tensor:
        """The adaptor: latents (n, m) to (n, d)."""
        hidden = latents @ self.factor("weight0").T + self.factor("bias0")
        return hidden.relu() @ self.factor("weight1").T + self.factor("bias1")

    def decode_flops(self, n_rows: int) -> int:
        """See base class."""
        return 2 * n_rows * self.sizes.hidden * (self.sizes.latent + self.shape[1])

    def _centroids(self) -> Tensor:
        """All codebooks as one table, (16 codes, h)."""
        return self.factor("codebook").view(-1, self.sizes.block)

    @property
    def stored_floats(self) -> None:
        """None: codes are not floats."""
        return None
