"""Few rows that many ids share: by stored numbers (k-means) or by a hash of the id."""

from typing import Any

import torch
from torch import Tensor

from ..numerics import bits
from ..numerics.rotation import splitmix64
from ._factors import Factor, FactoredMatrix


class SharedRows(FactoredMatrix):
    """Row i = shared[index_i], with a factor shared (k, d).

    The index of each row is stored in as few bits as numbers up to k need, or, if `hashed`, the
    remainder by k of the i-th output of the generator splitmix64 of the seed, which is part of the
    format's config.
    """

    format = "shared_rows"
    shared: Tensor

    def __init__(
        self,
        shape: tuple[int, int],
        n_shared: int,
        hashed: bool = False,
        seed: int = 0,
        dtype: str = "float32",
    ) -> None:
        super().__init__(shape, dtype, self.factors(shape, n_shared))
        self.n_shared = n_shared
        self.hashed = hashed
        self.seed = seed
        self.codes: Tensor
        self.index: Tensor
        n_bytes = 0 if hashed else self.code_bytes(shape, n_shared)
        self.register_buffer("codes", torch.zeros(n_bytes, dtype=torch.uint8))
        index = torch.zeros(self.shape[0], dtype=torch.int32)
        if hashed:
            hashes = splitmix64(seed, self.shape[0]) % n_shared
            index = torch.from_numpy(hashes.astype("int32"))
        self.register_buffer("index", index, persistent=False)

    @staticmethod
    def factors(shape: tuple[int, int], n_shared: int) -> dict[str, Factor]:
        """Stored factors."""
        return {"shared": Factor((n_shared, shape[1]), axis=1)}

    @staticmethod
    def code_bytes(shape: tuple[int, int], n_shared: int) -> int:
        """Bytes of the stored numbers."""
        return bits.packed_bytes(shape[0], bits.width_for(n_shared))

    def config(self) -> dict[str, Any]:
        """See base class."""
        return {
            "n_shared": self.n_shared,
            "hashed": self.hashed,
            "seed": self.seed,
            "dtype": self.dtype_name,
        }

    def prepare(self) -> None:
        """See base class."""
        if not self.hashed:
            ids = torch.arange(self.shape[0], device=self.codes.device)
            self.index = bits.gather(self.codes, ids, bits.width_for(self.n_shared)).int()

    def rows(self, ids: Tensor) -> Tensor:
        """See base class."""
        return self.factor_rows("shared", self.index.index_select(0, ids))

    def product(self, x: Tensor) -> Tensor:
        """See base class; multiplies with each shared row once."""
        return (x @ self.factor("shared").T.to(x.dtype)).index_select(-1, self.index)

    def product_flops(self, n_vectors: int) -> int:
        """See base class."""
        return 2 * n_vectors * self.n_shared * self.shape[1]
