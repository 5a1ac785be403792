"""Token counts for a model whose user gives none: of text files, of the package, or a prior.

The package holds tables of counts for the vocabularies of some common tokenizers, which
`bench.known_counts` makes from packaged corpora:

    known_counts/NAME.safetensors   ids, counts: int32 (n,), tokens that occur at least twice
                                    metadata: digest of the vocabulary, tokenizer, source, licence
"""

import hashlib
import json
import time
from collections.abc import Callable, Iterator, Sequence
from itertools import chain, islice
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

import torch
from safetensors import safe_open
from safetensors.torch import save_file
from torch import Tensor

from ..errors import UserError
from .shards import file_shards, iterate_texts
from .token_counts import count_texts, is_fast

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerBase

FOLDER = Path(__file__).parent / "known_counts"
MIN_COUNT = 2
"""Tokens that occur once are left out of the tables: they are as likely to be others."""
PRIOR_SHIFT = 100
PRIOR_TOKENS = 10_000_000
"""Length of the text that the prior describes."""
TEXTS_AT_ONCE = 2000
SECONDS_BETWEEN_LINES = 5


class FoundCounts(NamedTuple):
    """Counts of a model's tokens, and where they are from."""

    counts: Tensor
    """int64 (V,)."""
    source: str
    """What they were counted in, for messages."""


def vocabulary_digest(tokenizer: "PreTrainedTokenizerBase") -> str:
    """SHA-256 of a tokenizer's pieces and their ids, without tokens that were added to it."""
    if is_fast(tokenizer):
        vocabulary = tokenizer.backend_tokenizer.get_vocab(with_added_tokens=False)
    else:
        vocabulary = tokenizer.get_vocab()
    pieces = sorted(vocabulary.items(), key=lambda item: (item[1], item[0]))
    return hashlib.sha256(json.dumps(pieces).encode()).hexdigest()


def find_counts(
    tokenizer: "PreTrainedTokenizerBase | None", n_rows: int, special_ids: Sequence[int]
) -> FoundCounts:
    """Find counts of a model's tokens without a text.

    They are those of the package for the same vocabulary, or else a prior.

    Args:
        tokenizer: the model's, if it has one.
        n_rows: number of rows V of its embedding.
        special_ids: ids of its special tokens.
    """
    digest = vocabulary_digest(tokenizer) if tokenizer is not None else ""
    for path in sorted(FOLDER.glob("*.safetensors")):
        with safe_open(path, framework="pt") as file:
            about = file.metadata()
            if about["digest"] != digest:
                continue
            ids, values = file.get_tensor("ids").long(), file.get_tensor("counts").long()
        counts = torch.zeros(n_rows, dtype=torch.int64)
        counts[ids[ids < n_rows]] = values[ids < n_rows]
        source = f"counts of the package for {about['tokenizer']} ({about['source']})"
        return FoundCounts(counts, source)
    return FoundCounts(
        prior_counts(n_rows, special_ids),
        "a prior over the order of the vocabulary, in which frequent tokens mostly come first "
        "(name your texts by --text for better counts)",
    )


def prior_counts(n_rows: int, special_ids: Sequence[int]) -> Tensor:
    """Counts that fall with the id by the Zipf-Mandelbrot law: int64 (V,), proportional to
    1 / (id + PRIOR_SHIFT).

    Trained vocabularies are mostly in the order of frequency: BPE by its merges, WordPiece and
    Unigram by their counts. Special tokens, which are in most inputs, count as the most frequent.
    """
    weights = 1 / (torch.arange(n_rows, dtype=torch.float64) + PRIOR_SHIFT)
    weights[list(special_ids)] = 1 / PRIOR_SHIFT
    return (weights / weights.sum() * PRIOR_TOKENS).ceil().long()


def count_files(
    files: Sequence[Path],
    tokenizer: "PreTrainedTokenizerBase | None",
    n_rows: int,
    progress: Callable[[str], None],
) -> FoundCounts:
    """Count a model's tokens in text files, without special tokens.

    Args:
        files: .txt files with a text a line, .jsonl and .parquet files with a column `text`.
        tokenizer: the model's.
        n_rows: number of rows V of its embedding.
        progress: called with a line every few seconds.

    Raises:
        UserError: if a file cannot be read or is of another kind, all are empty, or the model has
            no tokenizer.
    """
    if tokenizer is None:
        raise UserError("--text: the model's folder contains no tokenizer: give --counts of ids")
    shards = list(chain.from_iterable(file_shards(path, "text") for path in files))
    texts = chain.from_iterable(map(iterate_texts, shards))
    counts = torch.zeros(n_rows, dtype=torch.int64)
    n_texts = 0
    last = time.monotonic()
    for batch in _batches(texts):
        counts += count_texts(batch, tokenizer, n_rows)
        n_texts += len(batch)
        if time.monotonic() - last > SECONDS_BETWEEN_LINES:
            last = time.monotonic()
            progress(f"counted {n_texts:,} texts, {int(counts.sum()):,} tokens")
    names = ", ".join(path.name for path in files[:3]) + (", ..." if len(files) > 3 else "")
    if not n_texts:
        raise UserError(f"--text: there is no text in {names}: name files with text")
    return FoundCounts(counts, f"{int(counts.sum()):,} tokens of {names}")


def _batches(texts: Iterator[str]) -> Iterator[list[str]]:
    """Texts in lists of TEXTS_AT_ONCE."""
    while batch := list(islice(texts, TEXTS_AT_ONCE)):
        yield batch


def write_known_counts(
    path: Path, counts: Tensor, tokenizer: "PreTrainedTokenizerBase", about: dict[str, str]
) -> None:
    """Write a table of the package.

    Args:
        path: file to write.
        counts: int64 (V,).
        tokenizer: the tokenizer whose tokens were counted.
        about: `tokenizer`, `source` and `licence`, for readers.
    """
    ids = (counts >= MIN_COUNT).nonzero().flatten()
    tensors = {"ids": ids.int(), "counts": counts[ids].int()}
    save_file(tensors, path, metadata={**about, "digest": vocabulary_digest(tokenizer)})
