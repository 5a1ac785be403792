"""What every compressed matrix can do, whatever method made it."""

import math
from abc import ABC, abstractmethod
from collections.abc import Callable
from typing import Any, ClassVar

import torch
from torch import Tensor, nn

ROW_BLOCK = 4096
"""Rows decoded at once where a whole matrix has to pass: bounds memory at ROW_BLOCK x d floats."""
BLOCK_VALUES = 1 << 22
"""Values encoded at once: 16 MiB of floats, several times."""


def row_block(d: int) -> int:
    """Rows of d values encoded at once.

    A multiple of 8, so that packed codes of a block end on a whole byte.
    """
    return min(ROW_BLOCK, max(8, BLOCK_VALUES // max(d, 1) // 8 * 8))


class CompressedMatrix(nn.Module, ABC):
    """A compressed (V, d) matrix.

    All that is stored is in buffers, so `state_dict()` is the artefact and its bytes are the size.
    Buffers made only to decode faster are registered with `persistent=False` and rebuilt in
    `prepare`. `rows` and `product` let gradients pass to what `unfreeze` made parameters.
    """

    format: ClassVar[str]
    """Name under which storage finds the class again: its file's."""

    def __init__(self, shape: tuple[int, int]) -> None:
        super().__init__()
        self.shape = (int(shape[0]), int(shape[1]))

    @abstractmethod
    def rows(self, ids: Tensor) -> Tensor:
        """Decode rows: int64 ids of shape (n,) to float32 (n, d).

        Without building the dense matrix.
        """

    def _apply(self, fn: Callable[[Tensor], Tensor], recurse: bool = True) -> "CompressedMatrix":
        """As in nn.Module, but types stay.

        `half()` of a model must not reinterpret what is stored, which are bits.
        """

        def moved(tensor: Tensor) -> Tensor:
            found = fn(tensor)
            return found if found.dtype == tensor.dtype else tensor.to(found.device)

        return super()._apply(moved, recurse)

    def config(self) -> dict[str, Any]:
        """JSON-able arguments of the constructor, beside `shape`.

        That rebuild an empty module of this layout.
        """
        return {}

    def prepare(self) -> None:
        """Rebuild what is derived from the stored buffers.

        Called after construction from data and after loading.
        """

    def dense(self) -> Tensor:
        """The whole decoded matrix, float32 (V, d)."""
        return torch.cat([self.rows(ids) for ids in torch.arange(self.shape[0]).split(ROW_BLOCK)])

    def product(self, x: Tensor) -> Tensor:
        """Multiply by the transposed matrix, as a linear layer or a tied output head does.

        (..., d) to (..., V).
        """
        return self.product_with(x, torch.arange(self.shape[0], device=x.device))

    def product_with(self, x: Tensor, ids: Tensor) -> Tensor:
        """Multiply by some rows, transposed.

        (..., d) to (..., n) for ids (n,), in blocks of rows that are decoded.
        """
        return torch.cat(
            [x @ self.rows(block).to(x.dtype).T for block in ids.split(ROW_BLOCK)], dim=-1
        )

    def decode_flops(self, n_rows: int) -> int:
        """Floating-point operations of decoding so many rows: those of matrix products, 2 a
        multiplication and addition.

        Gathers, scalings and sums of rows are not counted; nor does torch.utils.flop_counter count
        them.
        """
        return 0

    def product_flops(self, n_vectors: int) -> int:
        """Floating-point operations of `product` with so many vectors.

        Counted as by `decode_flops`.
        """
        return self.product_with_flops(n_vectors, self.shape[0])

    def product_with_flops(self, n_vectors: int, n_rows: int) -> int:
        """Those of `product_with` so many rows."""
        return self.decode_flops(n_rows) + 2 * n_vectors * n_rows * self.shape[1]

    def unfreeze(self) -> None:
        """Make the factors float32 parameters, to be trained; `freeze` before the matrix is
        measured or saved.

        Codes, indices and bits stay, and their scales with them: a matrix without factors has
        nothing to train.
        """

    def freeze(self) -> None:
        """Round trained factors to the types in which they are stored. What was not unfrozen stays
        as it is.

        Raises:
            UserError: if a number is beyond its type.
        """

    @property
    def stored_bits(self) -> int:
        """Bits of all that is stored: factors, codes, scales, indices, decoders and biases."""
        return sum(8 * t.numel() * t.element_size() for t in self.state_dict().values())

    @property
    def ratio(self) -> float:
        """Dense fp32 bits / bits stored; infinite where nothing is stored."""
        return 32 * math.prod(self.shape) / self.stored_bits if self.stored_bits else math.inf

    @property
    def stored_floats(self) -> int | None:
        """Floats stored, the papers' way to count size.

        None where integer codes carry the values.
        """
        return sum(t.numel() for t in self.state_dict().values() if t.is_floating_point())
