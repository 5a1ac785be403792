"""How a loaded model decodes its compressed embedding: row by row, with a cache, or at once."""

from typing import Literal, get_args

import torch
from torch import Tensor
from torch.nn import functional

from ..errors import UserError
from ..formats._base import CompressedMatrix

Decode = Literal["rows", "cached", "dense"]
CACHED_ROWS = 4096
"""Rows of a cache. By Zipf's law the most frequent ones answer most lookups."""


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
        position = torch.full((self.shape[0], 1), -1, dtype=torch.int32)
        position[frequent, 0] = torch.arange(len(frequent), dtype=torch.int32)
        with torch.no_grad():
            cache = stored.rows(frequent)
        self.register_buffer("position", position, persistent=False)
        self.register_buffer("cache", cache, persistent=False)

    def rows(self, ids: Tensor) -> Tensor:
        """See base class."""
        return self.lookup(ids)

    def lookup(self, ids: Tensor) -> Tensor:
        """See base class."""
        position = functional.embedding(ids.flatten(), self.position).squeeze(1)
        rows = functional.embedding(position.clamp(min=0), self.cache)
        missing = (position < 0).nonzero().squeeze(1)
        if len(missing):
            others = ids.flatten().index_select(0, missing)
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
        first = range(min(CACHED_ROWS, matrix.shape[0]))
        return CachedRows(matrix, torch.tensor(known or list(first), dtype=torch.int64))
    return matrix


def stored_matrix(matrix: CompressedMatrix) -> CompressedMatrix:
    """The matrix to save of one that `with_decoding` returned."""
    return matrix.stored if isinstance(matrix, _RuntimeMatrix) else matrix


def most_frequent(counts: Tensor) -> list[int]:
    """Ids of the at most CACHED_ROWS most frequent tokens of (V,) counts, ascending."""
    n = min(CACHED_ROWS, len(counts))
    return sorted(counts.topk(n).indices.tolist())
