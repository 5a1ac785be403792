"""Rotated rows of codes of a bitshift trellis at a fixed rate (QTIP)."""

from typing import Any

import torch
from torch import Tensor

from ..numerics import bits
from ..numerics.bitshift_trellis import code_values, state_width
from ._two_widths import TwoWidthRows


class RotatedTrellis(TwoWidthRows):
    """Codes of k = width bits a value, packed row by row in whole bytes.

    The state of a value is its code and those of the values before it, of which the first follows
    the last one of the row. It decodes to a computed Gaussian value (`numerics.bitshift_trellis`).
    """

    format = "rotated_trellis"

    def __init__(
        self,
        shape: tuple[int, int],
        widths: tuple[int, int],
        n_wide: int = 0,
        seed: int = 0,
        state_bits: int = 10,
    ) -> None:
        super().__init__(shape, widths, n_wide, seed)
        self.state_bits = state_bits
        self.values: Tensor
        # The value of a state depends on its number alone: shorter states share the table.
        values = torch.from_numpy(code_values(state_bits))
        self.register_buffer("values", values, persistent=False)

    @staticmethod
    def code_bytes(d: int, width: int) -> int:
        """See base class."""
        return bits.packed_bytes(d, width)

    def config(self) -> dict[str, Any]:
        """See base class."""
        return super().config() | {"state_bits": self.state_bits}

    def decode_codes(self, codes: Tensor, width: int) -> Tensor:
        """See base class."""
        d = self.shape[1]
        total = state_width(self.state_bits, width, d)
        index = bits.unpack_rows(codes, width, d).int()
        state = index
        known = 1  # codes in each state, the newest in the lowest bits
        needed = -(-total // width)
        while known < needed:
            more = min(known, needed - known)
            # Codes that both have are the same bits.
            state = state | state.roll(more, 1) << (width * more)
            known += more
        state = state & ((1 << total) - 1)
        return self.values.index_select(0, state.flatten()).view(len(codes), d)
