"""Signed integer codes and scales of compressed matrices, as other libraries store them."""

from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, NamedTuple

import torch
from torch import Tensor

from ..errors import UserError
from ..formats._base import CompressedMatrix, row_block
from ..formats.integer_rows import IntegerRows
from ..formats.row_tiers import RowTiers
from ..numerics import bits


@dataclass(frozen=True)
class WrittenTable:
    """A matrix that was written with integer codes."""

    name: str
    """Of the tensor, or of the layer."""
    type: str
    shape: tuple[int, int]
    bytes: int
    counted_bytes: int
    """Stored bytes of the compressed matrix in the exported model."""


@dataclass(frozen=True)
class TableSummary:
    """What was written: the matrix of the lookups, then the head's own if it has one."""

    file: Path
    tables: tuple[WrittenTable, ...]

    def to_json(self) -> dict[str, Any]:
        """As plain JSON values."""
        return asdict(self) | {"file": str(self.file)}

    def render(self) -> str:
        """As lines of text."""
        lines = [
            f"{table.name}: {table.shape[0]} x {table.shape[1]} as {table.type}, {table.bytes:,} "
            f"bytes ({table.counted_bytes:,} in the exported model)"
            for table in self.tables
        ]
        return "\n".join([*lines, f"written to {self.file}"])


class SignedCodes(NamedTuple):
    """Value = code x scale of the row and group of columns."""

    codes: Tensor
    """int16 (V, d)."""
    scale: Tensor
    """float16 (V, groups)."""
    group: int
    """Columns of a group; d where a row has one scale."""

    @property
    def width(self) -> int:
        """Bits of the smallest signed integers that hold all codes."""
        most = max(int(self.codes.max()), -int(self.codes.min()) - 1)
        return most.bit_length() + 1


def signed_codes(matrix: CompressedMatrix, name: str) -> SignedCodes:
    """Codes of integer rows, whatever their widths, with 0 as the code of 0.

    Codes whose grid has no level for 0 are doubled, and their scale is halved.

    Args:
        matrix: the compressed matrix.
        name: of its layer, for errors.

    Raises:
        UserError: if the matrix has another format, minima, or a scale too small to be halved.
    """
    if isinstance(matrix, RowTiers):
        parts = [signed_codes(part, name) for part in matrix.matrices()]
        codes = torch.empty(matrix.shape, dtype=torch.int16)
        scale = torch.empty(matrix.shape[0], parts[0].scale.shape[1], dtype=torch.float16)
        for number, part in enumerate(parts):
            rows = matrix.tier_of_row == number  # the rows of a tier keep their order
            codes[rows], scale[rows] = part.codes, part.scale
        return SignedCodes(codes, scale, parts[0].group)
    if not isinstance(matrix, IntegerRows) or matrix.minimum is not None:
        kind = "integer rows with minima" if isinstance(matrix, IntegerRows) else matrix.format
        raise UserError(
            f"{name} is stored as {kind}, and not as plain integer codes: compress it with method "
            "integer"
        )
    n_rows, d = matrix.shape
    ids = torch.arange(n_rows)[:, None]
    positions = [block * d + torch.arange(d) for block in ids.split(row_block(d))]
    codes = torch.cat(
        [bits.gather(matrix.codes, block, matrix.width).to(torch.int16) for block in positions]
    )
    scale = matrix.scale.view(n_rows, -1)
    if matrix.centre.is_integer():
        return SignedCodes(codes - int(matrix.centre), scale, matrix.group or d)
    halved = scale / 2
    if not torch.equal(halved.float() * 2, scale.float()):
        raise UserError(f"a scale of {name} is too small for fp16: use 4 bits or more")
    return SignedCodes(2 * codes - int(2 * matrix.centre), halved, matrix.group or d)
