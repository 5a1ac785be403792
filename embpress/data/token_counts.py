"""How often each token of a model stands in a corpus.

The corpus comes as word counts (MeCab's words for Japanese), and each distinct word is tokenized
once: exact counts, in a time that grows with the vocabulary of the corpus and not with its length.
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
"""Words in memory while the tokens of a table are counted."""
WORDS_A_TEXT = 1000
"""Words that are tokenized in one text, where that changes nothing.

A call costs more than a word.
"""


def count_table(table: Path, tokenizer: "PreTrainedTokenizerBase", n_rows: int) -> Tensor:
    """Counts of a model's tokens in the corpus of a word table, int64 (n_rows,).

    In bounded memory.
    """
    counts = torch.zeros(n_rows, dtype=torch.int64)
    entries = iterate_words(table)
    while words := dict(islice(entries, WORDS_AT_ONCE)):
        counts += count_tokens(Counter(words), tokenizer, n_rows)
    return counts


def count_tokens(words: Counter[Word], tokenizer: "PreTrainedTokenizerBase", n_rows: int) -> Tensor:
    """Counts of a model's tokens in a corpus given by its words: int64 (n_rows,). Special tokens
    are not added.

    Raises:
        UserError: if the tokenizer cannot be run on words alone, or has more tokens than the model
            has rows.
    """
    from transformers import BertJapaneseTokenizer, PreTrainedTokenizerFast

    ids: list[int] = []
    times: list[int] = []
    for spaced in (True, False):
        chosen = {word: n for (word, space), n in words.items() if space == spaced}
        if isinstance(tokenizer, PreTrainedTokenizerFast):
            encoded = _encode(chosen, tokenizer, spaced)
        elif isinstance(tokenizer, BertJapaneseTokenizer):
            encoded = _encode_morphemes(chosen, tokenizer)
        else:
            raise UserError(
                f"tokens of a {type(tokenizer).__name__} cannot be counted: take a model with a tokenizer.json"
            )
        for row, n in encoded:
            ids += row
            times += [n] * len(row)
    if ids and max(ids) >= n_rows:
        raise UserError(
            f"the tokenizer gives {tokenizer.convert_ids_to_tokens(max(ids))!r} the id {max(ids)}, but the model's "
            f"embedding has {n_rows} rows: resize the model, or take its own tokenizer"
        )
    counts = torch.zeros(n_rows, dtype=torch.int64)
    return counts.index_add_(
        0, torch.tensor(ids, dtype=torch.int64), torch.tensor(times, dtype=torch.int64)
    )


def check_segmenter(tokenizer: "PreTrainedTokenizerBase", segmenter: str, corpus: str) -> None:
    """Refuse words that a Japanese tokenizer, which cuts them itself, would have cut otherwise.

    Raises:
        UserError: with what would be right.
    """
    from transformers import BertJapaneseTokenizer

    if not isinstance(tokenizer, BertJapaneseTokenizer):
        return
    dictionary = (tokenizer.mecab_kwargs or {}).get("mecab_dic", "unidic_lite")
    if tokenizer.word_tokenizer_type != "mecab" or dictionary != "unidic_lite":
        raise UserError(
            f"the tokenizer cuts words by {tokenizer.word_tokenizer_type} ({dictionary}), but only words of MeCab with "
            "unidic_lite can be counted: take another model"
        )
    if segmenter != "mecab_nfkc":
        raise UserError(
            f"corpora.{corpus}: its words are cut by {segmenter}, but the model's tokenizer cuts by MeCab in NFKC: "
            "set `segmenter: mecab_nfkc`"
        )


def _encode(
    words: dict[str, int], tokenizer: "PreTrainedTokenizerFast", spaced: bool
) -> Iterator[tuple[list[int], int]]:
    """Ids of each word, as the tokenizer cuts it in running text with or without a space before it, and its count."""
    backend = tokenizer.backend_tokenizer
    # Some tokenizer.json files pad or cut every input.
    backend.no_padding()
    backend.no_truncation()
    kind = type(backend.pre_tokenizer).__name__
    if kind == "Metaspace" and not spaced:
        # Metaspace sets its mark before every input; the model below it takes the word as it stands
        # inside a text.
        normalise = backend.normalizer.normalize_str if backend.normalizer else str
        for word, n in words.items():
            yield [t.id for t in backend.model.tokenize(normalise(word))], n
        return
    if kind == "BertPreTokenizer":
        texts, times = _texts_of_words(words)
    else:
        space_matters = kind in ("ByteLevel", "Sequence") and spaced
        texts = [" " + word if space_matters else word for word in words]
        times = list(words.values())
    for encoding, n in zip(backend.encode_batch_fast(texts, add_special_tokens=False), times):
        yield encoding.ids, n


def _texts_of_words(words: dict[str, int]) -> tuple[list[str], list[int]]:
    """Texts of words that stand equally often in the corpus, and how often.

    For a tokenizer that cuts at every space whatever stands beside it: one text costs much less
    than its words one by one.
    """
    groups: dict[int, list[str]] = {}
    for word, n in words.items():
        groups.setdefault(n, []).append(word)
    texts = []
    times = []
    for n, group in groups.items():
        for start in range(0, len(group), WORDS_A_TEXT):
            texts.append(" ".join(group[start : start + WORDS_A_TEXT]))
            times.append(n)
    return texts, times


def _encode_morphemes(
    words: dict[str, int], tokenizer: "BertJapaneseTokenizer"
) -> Iterator[tuple[list[int], int]]:
    """Ids of each word that MeCab cut, and its count."""
    for word, n in words.items():
        word = word.lower() if tokenizer.do_lower_case else word
        pieces = (
            tokenizer.subword_tokenizer.tokenize(word) if tokenizer.do_subword_tokenize else [word]
        )
        ids: Any = tokenizer.convert_tokens_to_ids(pieces)
        yield ids, n


def write_counts(counts: Tensor, path: Path) -> None:
    """Write token counts: one int64 tensor `counts`, the id as position."""
    path.parent.mkdir(parents=True, exist_ok=True)
    save_file({"counts": counts}, path)


def read_counts(path: Path) -> Tensor:
    """Read counts that `write_counts` wrote: int64 (V,)."""
    return load_file(path)["counts"]
