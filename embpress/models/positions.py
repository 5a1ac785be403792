"""The longest input of a model that has an embedding of positions."""

from typing import Any

from torch import nn
from transformers import PreTrainedModel

from ..errors import UserError

POSITION_TABLES = ("wpe", "embed_positions", "position_embedding", "position_embeddings")
"""Names of the layers in transformers that embed absolute positions."""


def max_positions(model: PreTrainedModel) -> int | None:
    """Number of tokens that a model's smallest table of absolute positions has rows for.

    None for relative and rotary positions, which are computed for any length.
    """
    tables = [
        module
        for name, module in model.named_modules()
        if name.rpartition(".")[2] in POSITION_TABLES and isinstance(module, nn.Embedding)
    ]
    return min((table.num_embeddings - _first_position(table) for table in tables), default=None)


def _first_position(table: nn.Embedding) -> int:
    """Position of the first token: BART keeps 2 rows unused, RoBERTa those up to the padding's."""
    offset: Any = getattr(table, "offset", 0)
    if offset or table.padding_idx is None:
        return int(offset)
    return table.padding_idx + 1


def check_length(model: PreTrainedModel, n_tokens: int, key: str) -> None:
    """Check that inputs of `n_tokens` tokens are no longer than a model's positions.

    Args:
        model: the model.
        n_tokens: tokens of the longest input.
        key: key of the task that sets it, for the error.

    Raises:
        UserError: if they are longer.
    """
    limit = max_positions(model)
    if limit is not None and n_tokens > limit:
        raise UserError(
            f"`{key}` is {n_tokens}, but {type(model).__name__} has {limit} positions: set `{key}` "
            f"to {limit} or less"
        )
