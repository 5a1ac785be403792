"""Rows in tiers, each compressed by a format of its own: wide codes for some, narrow for others."""

from typing import Any, TypedDict

import torch
from torch import Tensor, nn

from ..numerics import bits
from . import format_class
from ._base import CompressedMatrix


class Tier(TypedDict):
    """A tier in the format's config."""

    format: str
    rows: int
    """Number of its rows, at least 1."""
    config: dict[str, Any]
    """Arguments of the constructor of its format beside `shape`."""


class RowTiers(CompressedMatrix):
    """The matrices of the tiers, and the packed number of each row's tier.

    The rows of a tier keep their order. `padding` unused bytes follow where the sizes of the tiers
    depend on the matrix, so that the size is the planned one.
    """

    format = "row_tiers"

    def __init__(self, shape: tuple[int, int], tiers: list[Tier], padding: int = 0) -> None:
        super().__init__(shape)
        if not tiers or sum(tier["rows"] for tier in tiers) != shape[0]:
            raise ValueError("the tiers do not have as many rows as the matrix")
        self.tiers = tiers
        self.padding_bytes = padding
        parts = [
            format_class(tier["format"])((tier["rows"], shape[1]), **tier["config"])
            for tier in tiers
        ]
        self.parts = nn.ModuleList(parts)
        self.tier_width = bits.width_for(len(tiers))
        self.tier: Tensor
        self.padding: Tensor
        self.tier_of_row: Tensor
        self.place: Tensor
        n_bytes = tier_map_bytes(shape[0], len(tiers))
        self.register_buffer("tier", torch.zeros(n_bytes, dtype=torch.uint8))
        self.register_buffer("padding", torch.zeros(padding, dtype=torch.uint8))
        # Follow from the packed tiers: the tier of each row, and its place within the tier.
        self.register_buffer(
            "tier_of_row", torch.zeros(shape[0], dtype=torch.uint8), persistent=False
        )
        self.register_buffer("place", torch.zeros(shape[0], dtype=torch.int32), persistent=False)

    def config(self) -> dict[str, Any]:
        """See base class."""
        tiers = [
            {**tier, "config": part.config()} for tier, part in zip(self.tiers, self.matrices())
        ]
        return {"tiers": tiers, "padding": self.padding_bytes}

    def matrices(self) -> list[CompressedMatrix]:
        """The matrices of the tiers."""
        return list(self.parts)  # type: ignore[arg-type]

    def prepare(self) -> None:
        """See base class.

        Raises:
            ValueError: if the rows' tiers do not have the sizes that the config says.
        """
        ids = torch.arange(self.shape[0], device=self.tier.device)
        tier = bits.gather(self.tier, ids, self.tier_width)
        place = torch.zeros_like(tier)
        for number, part in enumerate(self.matrices()):
            chosen = tier == number
            if int(chosen.sum()) != part.shape[0]:
                raise ValueError(f"tier {number} does not have {part.shape[0]} rows")
            place = torch.where(chosen, chosen.cumsum(0) - 1, place)
            part.prepare()
        self.tier_of_row = tier.to(torch.uint8)
        self.place = place.int()

    def rows(self, ids: Tensor) -> Tensor:
        """See base class."""
        tier = self.tier_of_row.index_select(0, ids)
        place = self.place.index_select(0, ids).long()
        decoded = torch.empty(len(ids), self.shape[1], device=ids.device)
        for number, part in enumerate(self.matrices()):
            chosen = (tier == number).nonzero().flatten()
            if len(chosen):
                decoded.index_copy_(0, chosen, part.rows(place.index_select(0, chosen)))
        return decoded

    def product(self, x: Tensor) -> Tensor:
        """See base class; the products of the tiers, in the order of the rows."""
        products = torch.cat([part.product(x) for part in self.matrices()], dim=-1)
        first = torch.tensor([0, *(tier["rows"] for tier in self.tiers)], device=x.device).cumsum(0)
        return products.index_select(-1, first[self.tier_of_row.long()] + self.place)

    def decode_flops(self, n_rows: int) -> int:
        """See base class; of rows of the tier that takes most."""
        return max(part.decode_flops(n_rows) for part in self.matrices())

    def product_flops(self, n_vectors: int) -> int:
        """See base class."""
        return sum(part.product_flops(n_vectors) for part in self.matrices())

    def unfreeze(self) -> None:
        """See base class."""
        for part in self.matrices():
            part.unfreeze()

    def freeze(self) -> None:
        """See base class."""
        for part in self.matrices():
            part.freeze()

    @property
    def stored_floats(self) -> int | None:
        """See base class; None if a tier stores integer codes."""
        counts = [part.stored_floats for part in self.matrices()]
        return None if None in counts else sum(n for n in counts if n is not None)


def tier_map_bytes(n_rows: int, n_tiers: int) -> int:
    """Bytes of the packed tiers of all rows."""
    return bits.packed_bytes(n_rows, bits.width_for(n_tiers))
