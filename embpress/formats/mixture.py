"""Some rows are kept, each other row is a weighted sum of a few kept rows (T24)."""

from typing import Any

import torch
from torch import Tensor
from torch.nn import functional

from ..numerics import bits
from ._base import ROW_BLOCK
from ._factors import Factor, FactoredMatrix


class Mixture(FactoredMatrix):
    """N kept rows, a bitmap of V bits that marks them, and k packed indices and k weights per row.

    With `norms`, which method `sparse_coding` no longer writes, each weighted sum is scaled to a
    stored norm.
    """

    format = "mixture"
    kept: Tensor
    weight: Tensor

    def __init__(
        self,
        shape: tuple[int, int],
        n_kept: int,
        neighbours: int,
        norms: bool = False,
        dtype: str = "float32",
    ) -> None:
        super().__init__(shape, dtype, self.factors(shape, n_kept, neighbours, norms))
        self.n_kept = n_kept
        self.neighbours = neighbours
        self.has_norms = norms
        self.index_width = bits.width_for(n_kept)
        self.is_kept: Tensor
        self.index: Tensor
        self.position: Tensor
        n_bytes = bits.packed_bytes((shape[0] - n_kept) * neighbours, self.index_width)
        self.register_buffer(
            "is_kept", torch.zeros(bits.packed_bytes(shape[0], 1), dtype=torch.uint8)
        )
        self.register_buffer("index", torch.zeros(n_bytes, dtype=torch.uint8))
        # Position p of row i among the kept rows (>= 0), or ~p among the mixed ones (< 0); follows
        # from the bitmap.
        self.register_buffer("position", torch.zeros(shape[0], dtype=torch.int32), persistent=False)

    @staticmethod
    def factors(
        shape: tuple[int, int], n_kept: int, neighbours: int, norms: bool = False
    ) -> dict[str, Factor]:
        """Factors stored beside bitmap and indices."""
        n_mixed = shape[0] - n_kept
        # The sizes of kept rows and of weights vary from row to row: each row has its own int8
        # scale.
        factors = {
            "kept": Factor((n_kept, shape[1]), axis=1),
            "weight": Factor((n_mixed, neighbours), axis=1),
        }
        return factors | {"norms": Factor((n_mixed,))} if norms else factors

    def config(self) -> dict[str, Any]:
        """See base class."""
        return {
            "n_kept": self.n_kept,
            "neighbours": self.neighbours,
            "norms": self.has_norms,
            "dtype": self.dtype_name,
        }

    def prepare(self) -> None:
        """See base class."""
        ids = torch.arange(self.shape[0], device=self.is_kept.device)
        kept = bits.gather(self.is_kept, ids, 1).bool()
        self.position = torch.where(kept, kept.cumsum(0) - 1, -(~kept).cumsum(0)).int()

    def rows(self, ids: Tensor) -> Tensor:
        """See base class."""
        position = self.position.index_select(0, ids).long()
        mixed = position < 0
        if not mixed.any():
            return self.factor_rows("kept", position)
        place = (~position).clamp_min_(0)
        index = self._indices(place)
        weights = self.factor_rows("weight", place)
        # A kept row is a mix of itself: one pass over all rows is faster than two and a merge.
        if not mixed.all():
            index = torch.where(mixed[:, None], index, position[:, None])
            weights = torch.where(
                mixed[:, None],
                weights,
                (torch.arange(self.neighbours, device=ids.device) == 0).float(),
            )
        mixes = self._mixes(index, weights)
        if not self.has_norms:
            return mixes
        scaled = functional.normalize(mixes, dim=1, eps=1e-30).mul_(
            self.factor_rows("norms", place)[:, None]
        )
        return torch.where(mixed[:, None], scaled, mixes)

    def product(self, x: Tensor) -> Tensor:
        """See base class; mixes the products of the kept rows, k multiplications instead of d."""
        if self.has_norms:  # the scale of a row depends on the decoded row
            return super().product(x)
        of_kept = self.factor("kept") @ x.reshape(-1, self.shape[1]).T  # (N, n) for n vectors
        products = torch.empty(self.shape[0], of_kept.shape[1], device=x.device)
        for ids in torch.arange(self.shape[0], device=x.device).split(ROW_BLOCK):
            position = self.position[ids].long()
            products[ids] = of_kept[position.clamp_min(0)]
            place = ~position[position < 0]
            weights = self.factor_rows("weight", place)
            products[ids[position < 0]] = functional.embedding_bag(
                self._indices(place), of_kept, mode="sum", per_sample_weights=weights
            )
        return products.T.reshape(*x.shape[:-1], self.shape[0])

    def product_flops(self, n_vectors: int) -> int:
        """See base class."""
        return (
            super().product_flops(n_vectors)
            if self.has_norms
            else 2 * n_vectors * self.n_kept * self.shape[1]
        )

    def _indices(self, place: Tensor) -> Tensor:
        """Positions of the kept rows that mixed rows are made of: (n,) to (n, k)."""
        columns = torch.arange(self.neighbours, device=place.device)
        return bits.gather(self.index, place[:, None] * self.neighbours + columns, self.index_width)

    def _mixes(self, index: Tensor, weights: Tensor) -> Tensor:
        """Weighted sums of kept rows: indices and weights (n, k) to (n, d)."""
        anchors = self.kept
        # Convert only the kept rows that are used, each of them once.
        if anchors.dtype != torch.float32:
            distinct, index = index.unique(return_inverse=True)
            anchors = self.factor_rows("kept", distinct)
        # With int32 indices embedding_bag takes two thirds of the time of int64.
        return functional.embedding_bag(
            index.int(), anchors, mode="sum", per_sample_weights=weights
        )
