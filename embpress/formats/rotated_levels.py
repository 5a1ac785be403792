"""Rotated rows of codes of a scalar quantizer whose levels follow from a law (TurboQuant)."""

from typing import Any

import torch
from torch import Tensor

from ..numerics import bits
from ..numerics.lloyd_max import Law, lloyd_max_levels
from ._two_widths import TwoWidthRows


class RotatedLevels(TwoWidthRows):
    """Codes of the Lloyd-Max levels of a law, packed row by row in whole bytes.

    The levels are not stored: they follow from law, width and d.
    """

    format = "rotated_levels"

    def __init__(
        self,
        shape: tuple[int, int],
        widths: tuple[int, int],
        n_wide: int = 0,
        seed: int = 0,
        law: Law = "beta",
    ) -> None:
        super().__init__(shape, widths, n_wide, seed)
        self.law = law
        self.levels: Tensor
        # The levels of both widths, one after the other.
        self.register_buffer(
            "levels",
            torch.cat([self._levels_of(width) for width in self.widths]),
            persistent=False,
        )

    def _levels_of(self, width: int) -> Tensor:
        # A single number is +-1 once its row is scaled: the law of two serves it.
        return torch.from_numpy(lloyd_max_levels(1 << width, self.law, max(self.shape[1], 2)))

    @staticmethod
    def code_bytes(d: int, width: int) -> int:
        """See base class."""
        return bits.packed_bytes(d, width)

    def config(self) -> dict[str, Any]:
        """See base class."""
        return super().config() | {"law": self.law}

    def levels_of(self, width: int) -> Tensor:
        """Levels of codes of one of the two widths: float32 (2^width,)."""
        first = 1 << self.widths[0]
        return self.levels[:first] if width == self.widths[0] else self.levels[first:]

    def decode_codes(self, codes: Tensor, width: int) -> Tensor:
        """See base class."""
        index = bits.unpack_rows(codes, width, self.shape[1])
        levels = self.levels_of(width)
        return levels.index_select(0, index.flatten().int()).view(len(codes), self.shape[1])
