"""Token counts as users have them.

What `write_counts` wrote, or a TSV or JSON file of tokens or ids and their counts.
"""

import json
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch
from safetensors import SafetensorError
from torch import Tensor

from ..errors import UserError
from ..files import summarize_error
from ..storage import tensor_table
from .token_counts import read_counts

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerBase

MOST = 1 << 53
"""Counts beyond this are no longer exact as floats, and no corpus has them."""


def counts_from_file(
    path: Path, n_rows: int, tokenizer: "PreTrainedTokenizerBase | None" = None
) -> Tensor:
    """Counts of a model's tokens out of a user's file: int64 (V,). Tokens that the file leaves out
    count 0.

    Args:
        path: `.safetensors` with a tensor `counts`; `.tsv` or `.txt` with a token or id, a tab and
            a count a line; `.json` with an object of tokens or ids to counts, or a list of counts
            by id. Keys are ids where all of them are whole numbers, else tokens.
        n_rows: the number of rows of the model's embedding, V.
        tokenizer: the model's, which turns tokens into ids.

    Raises:
        UserError: if the file cannot be read, is of another model, or names a token that the
            tokenizer lacks.
    """
    try:
        if path.suffix == ".safetensors":
            return _stored(path, n_rows)
        if path.suffix == ".json":
            value = json.loads(path.read_text(encoding="utf-8"))
            pairs = list(enumerate(value)) if isinstance(value, list) else list(value.items())
        elif path.suffix in (".tsv", ".txt"):
            pairs = [_pair(line, i, path) for i, line in enumerate(_lines(path), 1) if line]
        else:
            raise UserError(
                f"{path} is of no known kind: counts come as .safetensors, .tsv or .json"
            )
    except (
        OSError,
        ValueError,
        AttributeError,
        KeyError,
        SafetensorError,
        RecursionError,
    ) as error:
        raise UserError(f"{path} cannot be read as token counts ({summarize_error(error)})") from error
    return _by_id(pairs, n_rows, tokenizer, path)


def _stored(path: Path, n_rows: int) -> Tensor:
    """Counts that `write_counts` wrote; the shape is checked from the header."""
    table = tensor_table(path)
    if table.get("counts") != ((n_rows,), "I64"):
        raise ValueError(f"the model has {n_rows} rows, the file holds {table}")
    counts = read_counts(path)
    if (counts < 0).any():
        raise ValueError("a count is negative")
    return counts


def _lines(path: Path) -> list[str]:
    """Lines of a text; what else Unicode calls a line's end may stand in a token."""
    with path.open(encoding="utf-8-sig", newline="") as file:
        return [line.removesuffix("\r") for line in file.read().split("\n")]


def _pair(line: str, number: int, path: Path) -> tuple[str, Any]:
    """Token or id and count of a line; a token may itself be any text, tabs too, but no newline."""
    token, tab, count = line.rpartition("\t")
    if not tab or not count.strip().isdecimal():
        raise UserError(f"{path} line {number}: expected a token or id, a tab and a count")
    return token, int(count)


def _by_id(
    pairs: list[tuple[Any, Any]],
    n_rows: int,
    tokenizer: "PreTrainedTokenizerBase | None",
    path: Path,
) -> Tensor:
    """Counts of tokens or ids, added up by id."""
    counts = torch.zeros(n_rows, dtype=torch.int64)
    ids: dict[str, int] | None = None
    if not all(str(key).isdecimal() for key, _ in pairs):
        if tokenizer is None:
            raise UserError(
                f"{path} counts tokens, but the model's folder holds no tokenizer: count ids instead"
            )
        ids = tokenizer.get_vocab()
    for key, count in pairs:
        row = int(key) if ids is None else ids.get(key, -1)
        if not 0 <= row < n_rows:
            raise UserError(
                f"{path} counts {key!r}, which is none of the model's {n_rows} tokens: count with its tokenizer"
            )
        if type(count) is not int or not 0 <= count < MOST:
            raise UserError(
                f"{path} gives {key!r} the count {count!r}: counts are whole numbers from 0"
            )
        counts[row] += count
    return counts
