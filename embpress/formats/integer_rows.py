"""Rows of small integers with one scale per row or per group of columns."""

from typing import Any

import torch
from torch import Tensor, nn

from ..numerics import bits
from ._base import CompressedMatrix, row_block
from ._gathering import gather, values_of_bytes


class IntegerRows(CompressedMatrix):
    """V x d codes of `width` bits in one packed stream, and an fp16 scale per group of columns.

    `group` is the number of columns of a group, 0 for the whole row. Value = scale x (code -
    centre). For 4 bits and more the centre is 2^(width-1), so that 0 is a level. For fewer bits,
    where a level for 0 costs too much, it is half a level lower and the grid is symmetric. With
    `minima`, value = scale x code + minimum; the scale may be negative, and the minimum then is the
    maximum.

    With `straight_through` the codes can be trained (Bengio, Leonard and Courville 2013):
    `unfreeze` adds a float32 parameter `latent` (V, d), of which rows decode the nearest levels;
    its gradient is that of the decoded values. Scales and minima stay as they are.
    """

    format = "integer_rows"
    latent: nn.Parameter

    def __init__(
        self,
        shape: tuple[int, int],
        width: int,
        group: int = 0,
        minima: bool = False,
        straight_through: bool = False,
    ) -> None:
        super().__init__(shape)
        self.width = width
        self.group = group
        self.straight_through = straight_through
        self.centre = 0.0 if minima else centre(width)
        self.codes: Tensor
        self.scale: Tensor
        self.minimum: Tensor | None
        self.table: Tensor
        n_bytes = bits.packed_bytes(shape[0] * shape[1], width)
        of_groups = (shape[0], -(-shape[1] // group)) if group else (shape[0],)
        self.register_buffer("codes", torch.zeros(n_bytes, dtype=torch.uint8))
        self.register_buffer("scale", torch.zeros(of_groups, dtype=torch.float16))
        self.register_buffer(
            "minimum", torch.zeros(of_groups, dtype=torch.float16) if minima else None
        )
        # The decoded values of the codes in each possible byte.
        levels = values_of_bytes(width).sub_(self.centre) if width in (1, 2, 4) else None
        self.register_buffer("table", levels, persistent=False)

    def config(self) -> dict[str, Any]:
        """See base class."""
        config = {"width": self.width, "group": self.group, "minima": self.minimum is not None}
        return config | ({"straight_through": True} if self.straight_through else {})

    def rows(self, ids: Tensor) -> Tensor:
        """See base class."""
        if "latent" not in self._parameters:
            return self._decode(self._levels(ids), ids)
        latent = self.latent.index_select(0, ids)
        levels = self._nearest_codes(latent.detach(), ids).sub_(self.centre)
        # The difference is 0, and has the gradient of the latent values.
        return self._decode(levels, ids) + (latent - latent.detach())

    def _decode(self, levels: Tensor, ids: Tensor) -> Tensor:
        """Values of levels (n, d) in the grids of rows; changes the levels."""
        scale = self._over_columns(self.scale, ids)
        decoded = levels.unflatten(1, (scale.shape[1], -1)).mul_(scale)
        if self.minimum is not None:
            decoded.add_(self._over_columns(self.minimum, ids))
        return decoded.flatten(1)

    def _levels(self, ids: Tensor) -> Tensor:
        """Codes - centre of rows, or codes with minima: float32 (n, d)."""
        d = self.shape[1]
        if d * self.width % 8:  # rows do not start on a byte
            columns = torch.arange(d, device=ids.device)
            codes = bits.gather(self.codes, ids[:, None] * d + columns, self.width)
            return codes.float().sub_(self.centre)
        # index_select is several times as fast as indexing with a tensor.
        in_bytes = self.codes.view(self.shape[0], d * self.width // 8).index_select(0, ids)
        if self.width in (1, 2, 4):
            return gather(self.table, in_bytes.flatten().int()).view(-1, d)
        return bits.unpack_rows(in_bytes, self.width, d).float().sub_(self.centre)

    def _over_columns(self, of_groups: Tensor, ids: Tensor) -> Tensor:
        """Values of the groups of rows in float32: (n, groups, 1).

        Repeated to (n, d, 1) if the last group is shorter.
        """
        values = of_groups.view(self.shape[0], -1).index_select(0, ids).float()
        if self.group and self.shape[1] % self.group:
            values = values.repeat_interleave(self.group, dim=1)[:, : self.shape[1]]
        return values[:, :, None]

    def _nearest_codes(self, values: Tensor, ids: Tensor) -> Tensor:
        """Nearest codes of values (n, d) in the grids of rows, as floats."""
        scale = self._over_columns(self.scale, ids)
        offset = values.unflatten(1, (scale.shape[1], -1))
        if self.minimum is not None:
            offset = offset - self._over_columns(self.minimum, ids)
        offset = offset / torch.where(scale == 0, 1.0, scale)
        return offset.add_(self.centre).round_().clamp_(0, 2**self.width - 1).flatten(1)

    def unfreeze(self) -> None:
        """See base class; the decoded values, if the codes can be trained."""
        if self.straight_through and "latent" not in self._parameters:
            self.register_parameter("latent", nn.Parameter(self.dense()))

    def freeze(self) -> None:
        """See base class; the codes are those that the rows were decoded from."""
        if "latent" not in self._parameters:
            return
        latent = self.latent.detach()
        del self._parameters["latent"]
        ids = torch.arange(self.shape[0], device=latent.device)
        for block in ids.split(row_block(self.shape[1])):
            codes = self._nearest_codes(latent[block], block)
            self.store_codes(int(block[0]), codes)

    def store_codes(self, first_row: int, codes: Tensor) -> None:
        """Pack codes (n, d) of rows from first_row on, a multiple of 8."""
        packed = bits.pack(codes, self.width)
        self.codes[first_row * self.shape[1] * self.width // 8 :][: len(packed)] = packed

    @property
    def stored_floats(self) -> None:
        """None: codes are not floats."""
        return None


def centre(width: int) -> float:
    """The code that decodes to 0 without minima; it may lie between two codes."""
    return float(1 << (width - 1)) if width >= 4 else ((1 << width) - 1) / 2
