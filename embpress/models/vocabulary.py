"""Trim a model to part of its vocabulary.

Rows of the embedding and pieces of the tokenizer, ids renumbered.
"""

import json
import re
from collections.abc import Iterable
from typing import Any

import torch
from torch import nn
from transformers import PreTrainedModel, PreTrainedTokenizerBase, PreTrainedTokenizerFast

from ..errors import UserError
from .embedding import embedding_of, tied_head

SCRIPTS = {"japanese": re.compile(r"[\u3000-\u30ff\u3400-\u4dbf\u4e00-\u9fff\uff00-\uffef]")}
"""Characters that make a piece one of a script.

For Japanese kana, kanji, their punctuation and full-width forms.
"""

WORD_STARTS = "▁Ġ#"
"""Marks of a word's start or inside in pieces; no letters of any script."""


def pieces_of_script(vocabulary: dict[str, int], script: str) -> set[int]:
    """Ids of the pieces that hold a character of a script.

    Raises:
        UserError: for a script that is not in SCRIPTS.
    """
    if script not in SCRIPTS:
        raise UserError(
            f"unknown script {script!r} in `vocabulary`; there are {', '.join(SCRIPTS)}"
        )
    return {i for piece, i in vocabulary.items() if SCRIPTS[script].search(piece)}


def kept_ids(
    tokenizer: PreTrainedTokenizerBase, scripts: Iterable[str], seen: Iterable[int]
) -> list[int]:
    """Ids that stay, ascending: special and added tokens, single ASCII characters, whole scripts,
    pieces seen.

    Raises:
        UserError: for a tokenizer in Python, as MeCab's are: it has no description that could be
            trimmed.
    """
    if not isinstance(tokenizer, PreTrainedTokenizerFast):
        raise UserError(
            f"cannot trim a {type(tokenizer).__name__}: leave `vocabulary` out of the config"
        )
    vocabulary = tokenizer.get_vocab()
    keep = set(tokenizer.all_special_ids) | set(tokenizer.added_tokens_decoder) | set(seen)
    keep |= {
        i
        for piece, i in vocabulary.items()
        if len(piece.lstrip(WORD_STARTS)) <= 1 and piece.isascii()
    }
    keep |= {vocabulary[p] for p in WORD_STARTS if p in vocabulary}
    for script in scripts:
        keep |= pieces_of_script(vocabulary, script)
    return sorted(keep | _parts_of_merges(json.loads(tokenizer.backend_tokenizer.to_str()), keep))


def _parts_of_merges(description: dict[str, Any], keep: set[int]) -> set[int]:
    """For BPE: the pieces that kept ones are merged from, and the byte alphabet.

    Without which they cannot be built.
    """
    model = description["model"]
    if model["type"] != "BPE":
        return set()
    vocabulary = model["vocab"]
    needed = keep | {i for piece, i in vocabulary.items() if len(piece) == 1}
    # A piece is merged after its parts, so one pass from the last merge to the first finds all of
    # them.
    for left, right in reversed(model["merges"]):
        if vocabulary.get(left + right) in needed:
            needed |= {vocabulary[left], vocabulary[right]}
    return needed


def trim_tokenizer(tokenizer: PreTrainedTokenizerBase, keep: list[int]) -> PreTrainedTokenizerFast:
    """The tokenizer with only the pieces `keep`, numbered in that order.

    Raises:
        UserError: for a tokenizer that is neither Unigram, WordPiece nor BPE.
    """
    description = json.loads(tokenizer.backend_tokenizer.to_str())
    new_id = {old: new for new, old in enumerate(keep)}
    model = description["model"]
    if model["type"] == "Unigram":
        model["vocab"] = [model["vocab"][old] for old in keep if old < len(model["vocab"])]
        model["unk_id"] = new_id[model["unk_id"]]
    elif model["type"] in ("WordPiece", "BPE"):
        model["vocab"] = {
            piece: new_id[old] for piece, old in model["vocab"].items() if old in new_id
        }
    else:
        raise UserError(
            f"cannot trim a tokenizer of type {model['type']}: leave `vocabulary` out of the config"
        )
    if model["type"] == "BPE":
        vocabulary = model["vocab"]
        model["merges"] = [(a, b) for a, b in model["merges"] if {a, b, a + b} <= vocabulary.keys()]
    for token in description["added_tokens"]:
        token["id"] = new_id[token["id"]]
    for token in ((description.get("post_processor") or {}).get("special_tokens") or {}).values():
        token["ids"] = [new_id[i] for i in token["ids"]]
    if (description.get("post_processor") or {}).get("type") == "BertProcessing":
        for mark in ("sep", "cls"):
            description["post_processor"][mark][1] = new_id[description["post_processor"][mark][1]]
    backend = type(tokenizer.backend_tokenizer).from_str(json.dumps(description))
    return PreTrainedTokenizerFast(tokenizer_object=backend, **tokenizer.special_tokens_map)


def trim_model(model: PreTrainedModel, keep: list[int]) -> None:
    """Cut a model's embedding (and tied head) down to the rows `keep`.

    And renumber the special ids of its config.
    """
    _, embedding = embedding_of(model)
    head = tied_head(model)
    rows = embedding.weight.detach()[torch.tensor(keep)].clone()
    trimmed = nn.Embedding.from_pretrained(rows, freeze=False, padding_idx=None)
    model.set_input_embeddings(trimmed)
    if head is not None:
        head.weight = trimmed.weight
        head.out_features = len(keep)  # type: ignore[assignment]
    new_id = {old: new for new, old in enumerate(keep)}
    model.config.vocab_size = len(keep)
    for name in (
        "pad_token_id",
        "bos_token_id",
        "eos_token_id",
        "unk_token_id",
        "cls_token_id",
        "sep_token_id",
    ):
        old = getattr(model.config, name, None)
        if isinstance(old, int):
            setattr(model.config, name, new_id.get(old))
