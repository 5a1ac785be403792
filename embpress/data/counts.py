"""Read token counts from users' files: of `write_counts`, or TSV or JSON of tokens or ids."""

import json
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch
from safetensors import SafetensorError
from torch import Tensor

from ..errors import UserError
from ..files import summarize_error
from ..safetensors_header import read_header
from .token_counts import read_counts

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerBase

MAX_COUNT = 1 << 53
"""Larger counts are not exact as floats, and no corpus has them."""


def counts_from_file(
    path: Path, n_rows: int, tokenizer: "PreTrainedTokenizerBase | None" = None
) -> Tensor:
    """Read the counts of a model's tokens from a user's file: int64 (V,).

    Tokens that the file does not list have count 0.

    Args:
        path: `.safetensors` with a tensor `counts`; `.tsv` or `.txt` with a token or id, a tab and
            a count per line; `.json` with an object of tokens or ids to counts, or a list of counts
            by id. Keys are ids if all of them are whole numbers, else tokens.
        n_rows: number of rows V of the model's embedding.
        tokenizer: the model's, which maps tokens to ids.

    Raises:
        UserError: if the file cannot be read, counts nothing, has the counts of another model, or a
            token that the tokenizer lacks.
    """
    try:
        if path.suffix == ".safetensors":
            return _read_tensor(path, n_rows)
        if path.suffix == ".json":
            value = json.loads(path.read_text(encoding="utf-8"))
            if isinstance(value, list) and len(value) != n_rows:
                raise UserError(
                    f"{path} lists {len(value)} counts, but the model has {n_rows} rows: give one "
                    "for each id, or an object of ids to counts"
                )
            pairs = list(enumerate(value)) if isinstance(value, list) else list(value.items())
        elif path.suffix in (".tsv", ".txt"):
            pairs = [_parse_line(line, i, path) for i, line in enumerate(_lines(path), 1) if line]
        else:
            raise UserError(
                f"{path} is not a file of token counts: name a .safetensors, .tsv, .txt or .json "
                "file"
            )
    except (OSError, ValueError, AttributeError, RecursionError, SafetensorError) as error:
        raise UserError(
            f"{path} cannot be read as token counts ({summarize_error(error)}): check the file"
        ) from error
    counts = _sum_by_id(pairs, n_rows, tokenizer, path)
    if not counts.any():
        raise UserError(
            f"{path} counts no token: give a file with counts above 0, or leave out --counts"
        )
    return counts


def _read_tensor(path: Path, n_rows: int) -> Tensor:
    """Read the tensor that `write_counts` wrote, after checking its shape in the header.

    Raises:
        ValueError: if the file is invalid, or has the counts of another model.
    """
    tensors = read_header(path).tensors
    header = tensors.get("counts")
    if header is None or (header.dtype, header.shape) != ("I64", (n_rows,)):
        stored = {name: (list(tensor.shape), tensor.dtype) for name, tensor in tensors.items()}
        raise ValueError(f"the model has {n_rows} rows, the file has {stored}")
    counts = read_counts(path)
    if (counts < 0).any():
        raise ValueError("a count is negative")
    return counts


def _lines(path: Path) -> list[str]:
    """Lines of a text file, split only at newlines: a token may contain other line separators."""
    with path.open(encoding="utf-8-sig", newline="") as file:
        return [line.removesuffix("\r") for line in file.read().split("\n")]


def _parse_line(line: str, number: int, path: Path) -> tuple[str, Any]:
    """Token or id and count of a line; a token may contain any character but a newline."""
    token, tab, count = line.rpartition("\t")
    if not tab or not count.strip().isdecimal():
        raise UserError(f"{path} line {number}: expected a token or id, a tab and a count")
    return token, int(count)


def _sum_by_id(
    pairs: list[tuple[Any, Any]],
    n_rows: int,
    tokenizer: "PreTrainedTokenizerBase | None",
    path: Path,
) -> Tensor:
    """Sum the counts of tokens or ids by id: int64 (n_rows,)."""
    counts = torch.zeros(n_rows, dtype=torch.int64)
    id_of_token: dict[str, int] | None = None
    if not all(str(key).isdecimal() for key, _ in pairs):
        if tokenizer is None:
            raise UserError(
                f"{path} counts tokens, but the model's folder contains no tokenizer: count ids "
                "instead"
            )
        id_of_token = tokenizer.get_vocab()
    for key, count in pairs:
        row = int(key) if id_of_token is None else id_of_token.get(key, -1)
        if not 0 <= row < n_rows:
            raise UserError(
                f"{path} counts {key!r}, which is not one of the model's {n_rows} tokens: count "
                "with its tokenizer"
            )
        if type(count) is not int or not 0 <= count < MAX_COUNT:
            raise UserError(
                f"{path} gives {key!r} the count {count!r}: counts must be whole numbers from 0"
            )
        counts[row] += count
    return counts
