"""Base class of compressed matrices: decode rows, multiply, report size."""

import math
from abc import ABC, abstractmethod
from collections.abc import Callable
from itertools import chain
from typing import Any, ClassVar

import torch
from torch import Tensor, nn
from torch.nn import functional

ROW_BLOCK = 4096
"""Rows decoded at once when a whole matrix is decoded: bounds memory to ROW_BLOCK x d floats."""
BLOCK_VALUES = 1 << 22
"""Values encoded at once: 16 MiB of floats; encoders hold several copies."""


def row_block(d: int) -> int:
    """Number of rows of d values to encode at once.

    A multiple of 8, so that the packed codes of a block end on a whole byte.
    """
    return min(ROW_BLOCK, max(8, BLOCK_VALUES // max(d, 1) // 8 * 8))


class CompressedMatrix(nn.Module, ABC):
    """A compressed (V, d) matrix.

    All stored tensors are buffers, so that `state_dict()` is what is saved and its bytes are the
    size. Buffers that only speed up decoding are registered with `persistent=False` and rebuilt by
    `prepare`; what is kept outside of buffers is on the CPU, whatever the device. Ids and vectors
    are on the device of the buffers, and so are results. Gradients flow through `rows` and
    `product` to factors that `unfreeze` turned into parameters.
    """

    format: ClassVar[str]
    """Name of the format in artefacts, equal to the name of its file."""

    def __init__(self, shape: tuple[int, int]) -> None:
        super().__init__()
        self.shape = (int(shape[0]), int(shape[1]))

    @abstractmethod
    def rows(self, ids: Tensor) -> Tensor:
        """Decode rows without building the dense matrix: int64 ids (n,) to float32 (n, d)."""

    def lookup(self, ids: Tensor) -> Tensor:
        """Rows of ids of any shape (...): (..., d). Each distinct id is decoded once."""
        distinct_ids, positions = ids.unique(return_inverse=True)
        return functional.embedding(positions, self.rows(distinct_ids))

    def _apply(self, fn: Callable[[Tensor], Tensor], recurse: bool = True) -> "CompressedMatrix":
        """Move tensors as nn.Module does, but keep their types.

        `half()` of a model must not convert codes or scales.
        """

        def move(tensor: Tensor) -> Tensor:
            moved = fn(tensor)
            return moved if moved.dtype == tensor.dtype else tensor.to(moved.device)

        return super()._apply(move, recurse)

    @property
    def device(self) -> torch.device:
        """The device on which the matrix is decoded: that of its tensors."""
        return next(chain(self.buffers(), self.parameters())).device

    @property
    def product_dtype(self) -> torch.dtype:
        """Type of the vectors that layers give to `product`."""
        return torch.float32

    def config(self) -> dict[str, Any]:
        """Arguments of the constructor beside `shape`, as JSON values.

        Storage saves them, and builds an empty matrix of the format with them.
        """
        return {}

    def prepare(self) -> None:
        """Rebuild what is derived from the stored buffers; called after fitting and loading."""

    def dense(self) -> Tensor:
        """Decode the whole matrix: float32 (V, d)."""
        ids = torch.arange(self.shape[0], device=self.device)
        return torch.cat([self.rows(block) for block in ids.split(ROW_BLOCK)])

    def product(self, x: Tensor) -> Tensor:
        """Multiply by the transposed matrix, as a linear layer does: (..., d) to (..., V)."""
        return self.product_with(x, torch.arange(self.shape[0], device=x.device))

    def product_with(self, x: Tensor, ids: Tensor) -> Tensor:
        """Multiply by the transposed rows of these ids (n,): (..., d) to (..., n).

        Rows are decoded in blocks.
        """
        return torch.cat(
            [x @ self.rows(block).to(x.dtype).T for block in ids.split(ROW_BLOCK)], dim=-1
        )

    def decode_flops(self, n_rows: int) -> int:
        """Floating-point operations of decoding n_rows rows.

        Only matrix products are counted, with 2 operations for a multiplication and an addition, as
        by torch.utils.flop_counter: gathers, scalings and sums of rows are not.
        """
        return 0

    def product_flops(self, n_vectors: int) -> int:
        """Floating-point operations of `product` with n_vectors vectors, as in `decode_flops`."""
        return self.product_with_flops(n_vectors, self.shape[0])

    def product_with_flops(self, n_vectors: int, n_rows: int) -> int:
        """Floating-point operations of `product_with` n_rows ids, as in `decode_flops`."""
        return self.decode_flops(n_rows) + 2 * n_vectors * n_rows * self.shape[1]

    def unfreeze(self) -> None:
        """Turn the factors into float32 parameters for training.

        Call `freeze` before the matrix is measured or saved. Codes, indices and their scales are
        not trained: a matrix without factors has no parameters.
        """

    def freeze(self) -> None:
        """Round trained factors back to the types in which they are stored.

        Raises:
            UserError: if a value is out of the range of its type.
        """

    @property
    def stored_bits(self) -> int:
        """Bits of all stored tensors: factors, codes, scales, indices, decoders and biases."""
        return sum(8 * t.numel() * t.element_size() for t in self.state_dict().values())

    @property
    def ratio(self) -> float:
        """Compression ratio: dense fp32 bits / stored bits; infinite if nothing is stored."""
        return 32 * math.prod(self.shape) / self.stored_bits if self.stored_bits else math.inf

    @property
    def stored_floats(self) -> int | None:
        """Number of stored floats, which is the papers' measure of size.

        None if values are stored as integer codes.
        """
        return sum(t.numel() for t in self.state_dict().values() if t.is_floating_point())
