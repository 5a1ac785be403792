"""Rotated rows with an fp16 scale, coded in one of two numbers of bits a value."""

from abc import abstractmethod
from typing import Any

import torch
from torch import Tensor

from ..numerics import bits
from ._rotated_rows import RotatedRows


class TwoWidthRows(RotatedRows):
    """Row i = scale_i y_i R, where y_i is decoded from codes of `narrow` or `wide` bits a value.

    Stored are the codes of the narrow and of the wide rows, each in the order of the rows, an fp16
    scale per row, and a bitmap of V bits that marks the wide rows; there is no bitmap if all rows
    are narrow.
    """

    def __init__(
        self, shape: tuple[int, int], widths: tuple[int, int], n_wide: int, seed: int
    ) -> None:
        super().__init__(shape, seed)
        self.widths = (int(widths[0]), int(widths[1]))
        self.n_wide = n_wide
        self.is_wide: Tensor
        self.codes: Tensor
        self.wide_codes: Tensor
        self.scale: Tensor
        self.position: Tensor
        n_rows, d = self.shape
        bitmap = bits.packed_bytes(n_rows, 1) if n_wide else 0
        sizes = (n_rows - n_wide, self.code_bytes(d, self.widths[0]))
        self.register_buffer("is_wide", torch.zeros(bitmap, dtype=torch.uint8))
        self.register_buffer("codes", torch.zeros(sizes, dtype=torch.uint8))
        sizes = (n_wide, self.code_bytes(d, self.widths[1]) if n_wide else 0)
        self.register_buffer("wide_codes", torch.zeros(sizes, dtype=torch.uint8))
        self.register_buffer("scale", torch.zeros(n_rows, dtype=torch.float16))
        # Position p of row i among the wide rows (>= 0), or ~p among the narrow ones (< 0).
        self.register_buffer("position", torch.zeros(n_rows, dtype=torch.int32), persistent=False)

    @staticmethod
    @abstractmethod
    def code_bytes(d: int, width: int) -> int:
        """Bytes of the codes of a row of d values."""

    @classmethod
    def size(cls, shape: tuple[int, int], widths: tuple[int, int], n_wide: int) -> int:
        """Bits stored for a matrix of which n_wide rows are wide."""
        n_rows, d = shape
        n_bytes = (n_rows - n_wide) * cls.code_bytes(d, widths[0])
        if n_wide:
            n_bytes += n_wide * cls.code_bytes(d, widths[1]) + bits.packed_bytes(n_rows, 1)
        return 8 * n_bytes + 16 * n_rows

    @abstractmethod
    def decode_codes(self, codes: Tensor, width: int) -> Tensor:
        """Values before scaling: uint8 codes (n, code_bytes) to float32 (n, d)."""

    def config(self) -> dict[str, Any]:
        """See base class."""
        return {"widths": list(self.widths), "n_wide": self.n_wide, "seed": self.seed}

    def prepare(self) -> None:
        """See base class."""
        ids = torch.arange(self.shape[0], device=self.scale.device)
        if self.n_wide:
            wide = bits.gather(self.is_wide, ids, 1).bool()
        else:
            wide = torch.zeros_like(ids, dtype=torch.bool)
        self.position = torch.where(wide, wide.cumsum(0) - 1, -(~wide).cumsum(0)).int()

    def rotated_rows(self, ids: Tensor) -> Tensor:
        """See base class."""
        position = self.position.index_select(0, ids).long()
        scale = self.scale.index_select(0, ids).float()[:, None]
        if not self.n_wide:
            return self.decode_codes(self.codes.index_select(0, ~position), self.widths[0]) * scale
        values = torch.empty(len(ids), self.shape[1], device=scale.device)
        wide = position >= 0
        for chosen, codes, places, width in (
            (~wide, self.codes, ~position, self.widths[0]),
            (wide, self.wide_codes, position, self.widths[1]),
        ):
            rows = chosen.nonzero().squeeze(1)
            if len(rows):
                of_rows = codes.index_select(0, places.index_select(0, rows))
                values.index_copy_(0, rows, self.decode_codes(of_rows, width))
        return values.mul_(scale)
