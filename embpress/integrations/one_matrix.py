"""Formats of other libraries hold one compressed matrix: that of the input embedding."""

from pathlib import Path

from ..errors import UserError
from ..models.embedding import EmbeddingSlot


def check_one_matrix(slot: EmbeddingSlot, folder: Path) -> None:
    """Refuse models that run on a compressed matrix other than that of the input embedding.

    Raises:
        UserError: if the head has a matrix of its own, or another table is compressed.
    """
    if slot.own_head is not None:
        raise UserError(
            f"{folder}: the head {slot.heads[0]} has a code of its own, which this format does not "
            "support: compress without --head"
        )
    if slot.table is not None:
        raise UserError(
            f"{folder}: the compressed matrix is that of {slot.table}, and this format supports "
            "the input embedding alone: compress without --matrix"
        )
