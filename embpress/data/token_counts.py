"""Count the tokens of a model in a corpus, given the counts of its words, or its texts.

Each distinct word is tokenized once: the time grows with the vocabulary of the corpus and not with
its length. Whether the counts are exact depends on how words are cut; see `corpus_tokens`.
"""

from collections import Counter
from collections.abc import Callable, Iterable, Iterator
from itertools import islice
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeGuard

import torch
from safetensors.torch import load_file, save_file
from torch import Tensor

from ..errors import UserError
from .words import Word, iterate_words

if TYPE_CHECKING:  # transformers takes seconds to import, and compression needs only `read_counts`
    from transformers import PreTrainedTokenizerBase, PreTrainedTokenizerFast

WORDS_AT_ONCE = 1_000_000
"""Number of words of a table that are in memory at the same time."""
TEXTS_AT_ONCE = 256
"""Number of whole texts that are tokenized, and whose ids are in memory, at the same time."""
WORDS_TRIED = 100
"""Number of words by which a tokenizer is asked whether it reads the space before a word."""
WORDS_PER_TEXT = 1000
"""Number of words that are joined to one text, if the tokens are the same: a call of the tokenizer
takes longer than a word."""


def count_table(
    table: Path,
    tokenizer: "PreTrainedTokenizerBase",
    n_rows: int,
    view: Callable[[Counter[Word]], Counter[Word]] = Counter,
) -> Tensor:
    """Count a model's tokens in the corpus of a word table, in bounded memory: int64 (n_rows,).

    Args:
        table: the word table.
        tokenizer: the model's.
        n_rows: number of rows of the model's embedding.
        view: gives the words to tokenize from those of the table, such as `strip_runs`.

    Raises:
        UserError: as `count_tokens`.
    """
    counts = torch.zeros(n_rows, dtype=torch.int64)
    entries = iterate_words(table)
    while words := dict(islice(entries, WORDS_AT_ONCE)):
        counts += count_tokens(view(Counter(words)), tokenizer, n_rows)
    return counts


def count_tokens(words: Counter[Word], tokenizer: "PreTrainedTokenizerBase", n_rows: int) -> Tensor:
    """Count a model's tokens in the words of a corpus, without special tokens: int64 (n_rows,).

    Args:
        words: counts of the words.
        tokenizer: the model's, one that `tokenizes_words`.
        n_rows: number of rows of the model's embedding.

    Raises:
        UserError: if the tokenizer has more tokens than the model has rows.
    """
    encoded: list[tuple[list[int], int]] = []
    for spaced in (True, False):
        chosen = {word: n for (word, space), n in words.items() if space == spaced and word}
        if is_fast(tokenizer):
            encoded += _encode(chosen, tokenizer, spaced)
        else:
            encoded += _encode_morphemes(chosen, tokenizer)
    return sum_by_id(encoded, tokenizer, n_rows)


def count_texts(texts: Iterable[str], tokenizer: "PreTrainedTokenizerBase", n_rows: int) -> Tensor:
    """Count a model's tokens in whole texts, without special tokens: int64 (n_rows,).

    Exact for every tokenizer, but the time grows with the corpus.

    Args:
        texts: the corpus.
        tokenizer: the model's.
        n_rows: number of rows of the model's embedding.

    Raises:
        UserError: if the tokenizer has more tokens than the model has rows.
    """
    counts = torch.zeros(n_rows, dtype=torch.int64)
    rest = iter(texts)
    while batch := list(islice(rest, TEXTS_AT_ONCE)):
        counts += sum_by_id([(ids, 1) for ids in encode_texts(batch, tokenizer)], tokenizer, n_rows)
    return counts


def encode_texts(texts: list[str], tokenizer: "PreTrainedTokenizerBase") -> list[list[int]]:
    """Ids of the tokens of each text, without special tokens."""
    if not is_fast(tokenizer):
        return [tokenizer(text, add_special_tokens=False)["input_ids"] for text in texts]
    backend = _plain_backend(tokenizer)
    return [encoding.ids for encoding in backend.encode_batch_fast(texts, add_special_tokens=False)]


def is_fast(tokenizer: "PreTrainedTokenizerBase") -> TypeGuard["PreTrainedTokenizerFast"]:
    """Whether a tokenizer has a tokenizer.json."""
    from transformers import PreTrainedTokenizerFast

    return isinstance(tokenizer, PreTrainedTokenizerFast)


def tokenizes_words(tokenizer: "PreTrainedTokenizerBase") -> bool:
    """Whether a tokenizer can be run on words: one with a tokenizer.json, or of a Japanese BERT."""
    from transformers import BertJapaneseTokenizer

    return is_fast(tokenizer) or isinstance(tokenizer, BertJapaneseTokenizer)


def _plain_backend(tokenizer: "PreTrainedTokenizerFast") -> Any:
    """The tokenizer without padding and truncation, which some tokenizer.json files ask for."""
    backend = tokenizer.backend_tokenizer
    backend.no_padding()
    backend.no_truncation()
    return backend


def sum_by_id(
    encoded: list[tuple[list[int], int]], tokenizer: "PreTrainedTokenizerBase", n_rows: int
) -> Tensor:
    """Sum counts of words or texts by the ids of their tokens: int64 (n_rows,)."""
    ids = torch.tensor([i for row, _ in encoded for i in row], dtype=torch.int64)
    weights = torch.tensor([n for row, n in encoded for _ in row], dtype=torch.int64)
    if len(ids) and (largest := int(ids.max())) >= n_rows:
        raise UserError(
            f"the tokenizer gives {tokenizer.convert_ids_to_tokens(largest)!r} the id {largest}, "
            f"but the model's embedding has {n_rows} rows: resize the model, or use its own "
            "tokenizer"
        )
    return torch.zeros(n_rows, dtype=torch.int64).index_add_(0, ids, weights)


def _encode(
    words: dict[str, int], tokenizer: "PreTrainedTokenizerFast", spaced: bool
) -> Iterator[tuple[list[int], int]]:
    """Ids and count of each word, tokenized as in running text.

    Args:
        words: counts of the words.
        tokenizer: the model's.
        spaced: whether a space precedes each word in the text.
    """
    backend = _plain_backend(tokenizer)
    kind = type(backend.pre_tokenizer).__name__
    if kind == "Metaspace" and not spaced:
        # Metaspace adds its mark before every input, so the model tokenizes the word.
        normalize = backend.normalizer.normalize_str if backend.normalizer else str
        for word, n in words.items():
            yield [t.id for t in backend.model.tokenize(normalize(word))], n
        return
    if kind == "BertPreTokenizer":
        texts, counts = _join_words(words)
    else:
        space_matters = spaced and _reads_space(backend, list(islice(words, WORDS_TRIED)))
        texts = [" " + word if space_matters else word for word in words]
        counts = list(words.values())
    for encoding, n in zip(backend.encode_batch_fast(texts, add_special_tokens=False), counts):
        yield encoding.ids, n


def _reads_space(backend: Any, words: list[str]) -> bool:
    """Whether a space before a word changes its tokens, as in byte-level BPE."""
    plain, spaced = (
        [encoding.ids for encoding in backend.encode_batch_fast(texts, add_special_tokens=False)]
        for texts in (words, [" " + word for word in words])
    )
    return plain != spaced


def _join_words(words: dict[str, int]) -> tuple[list[str], list[int]]:
    """Join words of equal counts to texts, and return the texts and their counts.

    For a tokenizer that splits at every space, independent of the neighbouring words: one text
    takes much less time than its words one by one.
    """
    groups: dict[int, list[str]] = {}
    for word, n in words.items():
        groups.setdefault(n, []).append(word)
    texts = []
    counts = []
    for n, group in groups.items():
        for start in range(0, len(group), WORDS_PER_TEXT):
            texts.append(" ".join(group[start : start + WORDS_PER_TEXT]))
            counts.append(n)
    return texts, counts


def _encode_morphemes(words: dict[str, int], tokenizer: Any) -> Iterator[tuple[list[int], int]]:
    """Ids and count of each word that MeCab segmented, by a BertJapaneseTokenizer."""
    for word, n in words.items():
        word = word.lower() if tokenizer.do_lower_case else word
        pieces = (
            tokenizer.subword_tokenizer.tokenize(word) if tokenizer.do_subword_tokenize else [word]
        )
        ids: Any = tokenizer.convert_tokens_to_ids(pieces)
        yield ids, n


def write_counts(counts: Tensor, path: Path) -> None:
    """Write token counts as one int64 (V,) tensor `counts`, indexed by token id."""
    path.parent.mkdir(parents=True, exist_ok=True)
    save_file({"counts": counts}, path)


def read_counts(path: Path) -> Tensor:
    """Read the counts that `write_counts` wrote: int64 (V,)."""
    return load_file(path)["counts"]
