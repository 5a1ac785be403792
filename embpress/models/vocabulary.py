"""Trim a model to part of its vocabulary.

Rows of the embedding and pieces of the tokenizer are removed, and the ids of the others renumbered.
"""

import json
import re
from collections.abc import Iterable
from typing import Any

import torch
from torch import nn
from transformers import PreTrainedModel, PreTrainedTokenizerBase, PreTrainedTokenizerFast

from ..errors import UserError
from .embedding import find_embedding, tied_head

SCRIPTS = {"japanese": re.compile(r"[\u3000-\u30ff\u3400-\u4dbf\u4e00-\u9fff\uff00-\uffef]")}
"""Characters by which a piece belongs to a script: for Japanese kana, kanji, their punctuation and
full-width forms."""

WORD_STARTS = "▁Ġ#"
"""Characters with which tokenizers mark that a piece begins or continues a word."""


def pieces_of_script(vocabulary: dict[str, int], script: str) -> set[int]:
    """Ids of the pieces that contain a character of a script.

    Raises:
        UserError: if the script is not in SCRIPTS.
    """
    if script not in SCRIPTS:
        raise UserError(
            f"unknown script {script!r} in `vocabulary`; there are {', '.join(SCRIPTS)}"
        )
    return {i for piece, i in vocabulary.items() if SCRIPTS[script].search(piece)}


def kept_ids(
    tokenizer: PreTrainedTokenizerBase, scripts: Iterable[str], seen: Iterable[int]
) -> list[int]:
    """Ids to keep, ascending.

    Special and added tokens, single ASCII characters, all pieces of some scripts, and pieces seen.

    Args:
        tokenizer: the model's.
        scripts: keys of SCRIPTS.
        seen: ids that occur in the corpora.

    Raises:
        UserError: if the tokenizer is not a fast one, such as MeCab's: it has no JSON description
            that could be trimmed.
    """
    if not isinstance(tokenizer, PreTrainedTokenizerFast):
        raise UserError(
            f"cannot trim a {type(tokenizer).__name__}: remove `vocabulary` from the model's entry"
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
    """For BPE: the byte alphabet, and the pieces from which kept ones are merged."""
    model = description["model"]
    if model["type"] != "BPE":
        return set()
    vocabulary = model["vocab"]
    needed = keep | {i for piece, i in vocabulary.items() if len(piece) == 1}
    # A piece is merged after its parts, so one pass from the last merge to the first finds all.
    for left, right in reversed(model["merges"]):
        if vocabulary.get(left + right) in needed:
            needed |= {vocabulary[left], vocabulary[right]}
    return needed


def trim_tokenizer(tokenizer: PreTrainedTokenizerBase, keep: list[int]) -> PreTrainedTokenizerFast:
    """Build the tokenizer with only the pieces `keep`, numbered in that order.

    Raises:
        UserError: if the tokenizer is neither Unigram, WordPiece nor BPE.
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
            f"cannot trim a tokenizer of type {model['type']}: remove `vocabulary` from the "
            "model's entry"
        )
    if model["type"] == "BPE":
        vocabulary = model["vocab"]
        model["merges"] = [(a, b) for a, b in model["merges"] if {a, b, a + b} <= vocabulary.keys()]
    for token in description["added_tokens"]:
        token["id"] = new_id[token["id"]]
    post_processor = description.get("post_processor") or {}
    for token in (post_processor.get("special_tokens") or {}).values():
        token["ids"] = [new_id[i] for i in token["ids"]]
    if post_processor.get("type") == "BertProcessing":
        for mark in ("sep", "cls"):
            post_processor[mark][1] = new_id[post_processor[mark][1]]
    backend = type(tokenizer.backend_tokenizer).from_str(json.dumps(description))
    return PreTrainedTokenizerFast(tokenizer_object=backend, **tokenizer.special_tokens_map)


def trim_model(model: PreTrainedModel, keep: list[int]) -> None:
    """Keep only the rows `keep` of a model's embedding and tied head.

    The special ids in its config are renumbered.
    """
    _, embedding = find_embedding(model)
    head = tied_head(model)
    rows = embedding.weight.detach()[torch.tensor(keep)].clone()
    trimmed = nn.Embedding.from_pretrained(rows, freeze=False, padding_idx=None)
    model.set_input_embeddings(trimmed)
    if head is not None:
        head.weight = trimmed.weight
        head.out_features = len(keep)  # type: ignore[assignment]
    new_id = {old: new for new, old in enumerate(keep)}
    model.config.vocab_size = len(keep)
    for token in ("pad", "bos", "eos", "unk", "cls", "sep"):
        old = getattr(model.config, f"{token}_token_id", None)
        if isinstance(old, int):
            setattr(model.config, f"{token}_token_id", new_id.get(old))
