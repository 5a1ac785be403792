"""How a loaded model decodes its compressed embedding: row by row, with a cache, or at once."""

from typing import Literal, get_args

import torch
from torch import Tensor
from torch.nn import functional

from ..errors import UserError
from ..formats._base import ROW_BLOCK, CompressedMatrix

Decode = Literal["rows", "cached", "dense"]
CACHED_ROWS = 16_384
"""Most rows of a cache, which has at most half of the vocabulary's. By Zipf's law the most frequent
ones answer most lookups."""


class _RuntimeMatrix(CompressedMatrix):
    """A compressed matrix that keeps decoded rows in memory; what is saved is the stored matrix."""

    def __init__(self, stored: CompressedMatrix) -> None:
        super().__init__(stored.shape)
        self.stored = stored

    @property
    def stored_bits(self) -> int:
        """Bits of the stored matrix."""
        return self.stored.stored_bits


class CachedRows(_RuntimeMatrix):
    """The rows of frequent tokens are decoded once, the others at each lookup.

    Args:
        stored: the (V, d) matrix.
        frequent: int64 (n,), ids of the rows to keep.
    """

    position: Tensor
    cache: Tensor

    def __init__(self, stored: CompressedMatrix, frequent: Tensor) -> None:
        super().__init__(stored)
        position = torch.full((self.shape[0],), -1, dtype=torch.int32)
        position[frequent] = torch.arange(len(frequent), dtype=torch.int32)
        cache = torch.empty(len(frequent), self.shape[1], device=stored.device)
        with torch.no_grad():
            # In blocks: decoding may take several times the memory of its rows.
            for own, ids in zip(cache.split(ROW_BLOCK), frequent.split(ROW_BLOCK)):
                own.copy_(stored.rows(ids))
        self.register_buffer("position", position, persistent=False)
        self.register_buffer("cache", cache, persistent=False)

    def rows(self, ids: Tensor) -> Tensor:
        """See base class."""
        return self.lookup(ids)

    def lookup(self, ids: Tensor) -> Tensor:
        """See base class."""
        flat_ids = ids.flatten()
        position = self.position.index_select(0, flat_ids)
        missing = (position < 0).nonzero().squeeze(1)
        rows = functional.embedding(position.clamp_(min=0), self.cache)
        if len(missing):
            others = flat_ids.index_select(0, missing)
            rows.index_copy_(0, missing, self.stored.lookup(others))
        return rows.view(*ids.shape, -1)

    def product(self, x: Tensor) -> Tensor:
        """See base class."""
        return self.stored.product(x)

    def product_with(self, x: Tensor, ids: Tensor) -> Tensor:
        """See base class."""
        return self.stored.product_with(x, ids)


class DecodedRows(_RuntimeMatrix):
    """All rows are decoded once, which takes the memory of the dense matrix.

    Args:
        stored: the (V, d) matrix.
        dtype: the model's, in which the rows are kept.
    """

    values: Tensor

    def __init__(self, stored: CompressedMatrix, dtype: torch.dtype) -> None:
        super().__init__(stored)
        with torch.no_grad():
            values = stored.dense().to(dtype)
        self.register_buffer("values", values, persistent=False)

    @property
    def product_dtype(self) -> torch.dtype:
        """See base class."""
        return self.values.dtype

    def rows(self, ids: Tensor) -> Tensor:
        """See base class."""
        return self.lookup(ids).float()

    def lookup(self, ids: Tensor) -> Tensor:
        """See base class; in the type of the model."""
        return functional.embedding(ids, self.values)

    def product(self, x: Tensor) -> Tensor:
        """See base class."""
        return x @ self.values.T


def with_decoding(
    matrix: CompressedMatrix, decode: Decode, frequent: list[int], dtype: torch.dtype
) -> CompressedMatrix:
    """A matrix that decodes as `decode` says.

    Args:
        matrix: the stored (V, d) matrix.
        decode: `rows` decodes the rows of each batch, `cached` those of rare tokens only, `dense`
            all at once.
        frequent: ids of the most frequent tokens; if there are none, the first ones of the
            vocabulary are cached.
        dtype: the model's.

    Raises:
        UserError: if `decode` is none of these.
    """
    if decode not in get_args(Decode):
        raise UserError(f"decode is {decode!r}: give one of {', '.join(get_args(Decode))}")
    if decode == "dense":
        return DecodedRows(matrix, dtype)
    if decode == "cached":
        known = [i for i in frequent if isinstance(i, int) and 0 <= i < matrix.shape[0]]
        first = range(_cached_rows(matrix.shape[0]))
        return CachedRows(matrix, torch.tensor(known or list(first), dtype=torch.int64))
    return matrix


def stored_matrix(matrix: CompressedMatrix) -> CompressedMatrix:
    """The matrix to save of one that `with_decoding` returned."""
    return matrix.stored if isinstance(matrix, _RuntimeMatrix) else matrix


def most_frequent(counts: Tensor) -> list[int]:
    """Ids of the tokens of (V,) counts that a cache holds, the most frequent ones, ascending."""
    return sorted(counts.topk(_cached_rows(len(counts))).indices.tolist())


def _cached_rows(n_rows: int) -> int:
    """Rows of the cache of a matrix of n_rows rows."""
    return min(CACHED_ROWS, (n_rows + 1) // 2)
