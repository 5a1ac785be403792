"""Count the tokens of a model in a corpus, given the counts of its words.

Each distinct word (MeCab's words for Japanese) is tokenized once. The counts are exact, and the
time grows with the vocabulary of the corpus and not with its length.
"""

from collections import Counter
from collections.abc import Iterator
from itertools import islice
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch
from safetensors.torch import load_file, save_file
from torch import Tensor

from ..errors import UserError
from .words import Word, iterate_words

if TYPE_CHECKING:  # transformers takes seconds to import, and compression needs only `read_counts`
    from transformers import BertJapaneseTokenizer, PreTrainedTokenizerBase, PreTrainedTokenizerFast

WORDS_AT_ONCE = 1_000_000
"""Number of words of a table that are in memory at the same time."""
WORDS_PER_TEXT = 1000
"""Number of words that are joined to one text, if the tokens are the same: a call of the tokenizer
takes longer than a word."""


def count_table(table: Path, tokenizer: "PreTrainedTokenizerBase", n_rows: int) -> Tensor:
    """Count a model's tokens in the corpus of a word table, in bounded memory: int64 (n_rows,).

    Raises:
        UserError: as `count_tokens`.
    """
    counts = torch.zeros(n_rows, dtype=torch.int64)
    entries = iterate_words(table)
    while words := dict(islice(entries, WORDS_AT_ONCE)):
        counts += count_tokens(Counter(words), tokenizer, n_rows)
    return counts


def count_tokens(words: Counter[Word], tokenizer: "PreTrainedTokenizerBase", n_rows: int) -> Tensor:
    """Count a model's tokens in the words of a corpus, without special tokens: int64 (n_rows,).

    Args:
        words: counts of the words.
        tokenizer: the model's.
        n_rows: number of rows of the model's embedding.

    Raises:
        UserError: if the tokenizer is not a fast or a Japanese BERT one, which can be run on words,
            or has more tokens than the model has rows.
    """
    from transformers import BertJapaneseTokenizer, PreTrainedTokenizerFast

    ids: list[int] = []
    weights: list[int] = []
    for spaced in (True, False):
        chosen = {word: n for (word, space), n in words.items() if space == spaced}
        if isinstance(tokenizer, PreTrainedTokenizerFast):
            encoded = _encode(chosen, tokenizer, spaced)
        elif isinstance(tokenizer, BertJapaneseTokenizer):
            encoded = _encode_morphemes(chosen, tokenizer)
        else:
            raise UserError(
                f"tokens of a {type(tokenizer).__name__} cannot be counted: use a model with a "
                "tokenizer.json"
            )
        for row, n in encoded:
            ids += row
            weights += [n] * len(row)
    if ids and max(ids) >= n_rows:
        raise UserError(
            f"the tokenizer gives {tokenizer.convert_ids_to_tokens(max(ids))!r} the id {max(ids)}, "
            f"but the model's embedding has {n_rows} rows: resize the model, or use its own "
            "tokenizer"
        )
    counts = torch.zeros(n_rows, dtype=torch.int64)
    return counts.index_add_(
        0, torch.tensor(ids, dtype=torch.int64), torch.tensor(weights, dtype=torch.int64)
    )


def check_segmenter(tokenizer: "PreTrainedTokenizerBase", segmenter: str, corpus: str) -> None:
    """Check that a corpus was segmented as a Japanese tokenizer, which segments words itself, does.

    Args:
        tokenizer: the model's; others than Japanese ones need no check.
        segmenter: the corpus's.
        corpus: name of the corpus, for errors.

    Raises:
        UserError: with the segmenter to use.
    """
    from transformers import BertJapaneseTokenizer

    if not isinstance(tokenizer, BertJapaneseTokenizer):
        return
    dictionary = (tokenizer.mecab_kwargs or {}).get("mecab_dic", "unidic_lite")
    if tokenizer.word_tokenizer_type != "mecab" or dictionary != "unidic_lite":
        raise UserError(
            f"the tokenizer segments words by {tokenizer.word_tokenizer_type} ({dictionary}), but "
            "only words of MeCab with unidic_lite can be counted: use another model"
        )
    if segmenter != "mecab_nfkc":
        raise UserError(
            f"corpora.{corpus}: its words are segmented by {segmenter}, but the model's tokenizer "
            "uses MeCab after NFKC normalization: set `segmenter: mecab_nfkc`"
        )


def _encode(
    words: dict[str, int], tokenizer: "PreTrainedTokenizerFast", spaced: bool
) -> Iterator[tuple[list[int], int]]:
    """Ids and count of each word, tokenized as in running text.

    Args:
        words: counts of the words.
        tokenizer: the model's.
        spaced: whether a space precedes each word in the text.
    """
    backend = tokenizer.backend_tokenizer
    # Some tokenizer.json files pad or truncate every input.
    backend.no_padding()
    backend.no_truncation()
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
        space_matters = kind in ("ByteLevel", "Sequence") and spaced
        texts = [" " + word if space_matters else word for word in words]
        counts = list(words.values())
    for encoding, n in zip(backend.encode_batch_fast(texts, add_special_tokens=False), counts):
        yield encoding.ids, n


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


def _encode_morphemes(
    words: dict[str, int], tokenizer: "BertJapaneseTokenizer"
) -> Iterator[tuple[list[int], int]]:
    """Ids and count of each word that MeCab segmented."""
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
