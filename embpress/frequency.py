"""How often each token of a model stands in a corpus.

The corpus comes as word counts (MeCab's words for Japanese), and each distinct word is tokenized once: exact counts, in a
time that grows with the vocabulary of the corpus and not with its length.
"""

from collections import Counter
from pathlib import Path
from typing import TYPE_CHECKING

import torch
from safetensors.torch import load_file, save_file
from torch import Tensor

from .errors import UserError
from .words import Word

if TYPE_CHECKING:  # transformers takes seconds to import, and compression needs only `read_counts`
    from transformers import PreTrainedTokenizerFast


def count_tokens(words: Counter[Word], tokenizer: "PreTrainedTokenizerFast", n_rows: int) -> Tensor:
    """Counts of a model's tokens in a corpus given by its words: int64 (n_rows,). Special tokens are not added.

    Raises:
        UserError: if the tokenizer gives a token that the model has no row for.
    """
    counts = torch.zeros(n_rows, dtype=torch.int64)
    for spaced in (True, False):
        chosen = [(word, n) for (word, space), n in words.items() if space == spaced]
        pieces = _encode([w for w, _ in chosen], tokenizer, spaced)
        ids = torch.tensor([i for row in pieces for i in row], dtype=torch.int64)
        if len(ids) and int(ids.max()) >= n_rows:
            piece = tokenizer.convert_ids_to_tokens(int(ids.max()))
            raise UserError(
                f"the tokenizer gives {piece!r} the id {int(ids.max())}, but the model's embedding has {n_rows} rows: "
                "resize the model, or take its own tokenizer"
            )
        times = torch.tensor([n for row, (_, n) in zip(pieces, chosen) for _ in row], dtype=torch.int64)
        counts.index_add_(0, ids, times)
    return counts


def _encode(words: list[str], tokenizer: "PreTrainedTokenizerFast", spaced: bool) -> list[list[int]]:
    """Ids of each word, as the tokenizer cuts it in running text with or without a space before it."""
    backend = tokenizer.backend_tokenizer
    # Some tokenizer.json files pad or cut every input.
    backend.no_padding()
    backend.no_truncation()
    kind = type(backend.pre_tokenizer).__name__
    if kind == "Metaspace" and not spaced:
        # Metaspace sets its mark before every input; the model below it takes the word as it stands inside a text.
        normalise = backend.normalizer.normalize_str if backend.normalizer else str
        return [[t.id for t in backend.model.tokenize(normalise(word))] for word in words]
    space_matters = kind in ("ByteLevel", "Sequence") and spaced
    inputs = [" " + word for word in words] if space_matters else words
    return [e.ids for e in backend.encode_batch(inputs, add_special_tokens=False)]


def write_counts(counts: Tensor, path: Path) -> None:
    """Write token counts: one int64 tensor `counts`, the id as position."""
    path.parent.mkdir(parents=True, exist_ok=True)
    save_file({"counts": counts}, path)


def read_counts(path: Path) -> Tensor:
    """Read counts that `write_counts` wrote: int64 (V,)."""
    return load_file(path)["counts"]


def smoothed(counts: Tensor) -> Tensor:
    """Weights of mean 1, float64 (V,), that corpus counts give to rows: add-one smoothed token probabilities.

    Raw counts would leave tokens that the corpus lacks without any weight, though other text has them.
    """
    weights = counts.double() + 1
    return weights / weights.mean()
