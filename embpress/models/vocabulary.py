"""Trim a model to part of its vocabulary.

Rows of the embedding and pieces of the tokenizer are removed, and the ids of the others renumbered.
"""

import json
import re
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import load_file, save_file
from torch import Tensor, nn
from transformers import PreTrainedModel, PreTrainedTokenizerBase, PreTrainedTokenizerFast

from ..errors import UserError
from .embedding import find_embedding
from .positions import POSITION_TABLES

KEPT_IDS = "kept_ids.safetensors"
"""File of the ids of the rows that trimming kept."""
BYTE = re.compile(r"<0x[0-9A-F]{2}>")
"""Pieces that stand for one byte of a character that has no piece."""
SCRIPTS = {"japanese": re.compile(r"[\u3000-\u30ff\u3400-\u4dbf\u4e00-\u9fff\uff00-\uffef]")}
"""Characters by which a piece belongs to a script: for Japanese kana, kanji, their punctuation and
full-width forms."""

WORD_STARTS = "▁Ġ#"
"""Characters with which tokenizers mark that a piece begins or continues a word."""


TOKEN_LISTS = {"suppress_tokens", "begin_suppress_tokens", "bad_words_ids", "forced_decoder_ids"}
"""Attributes of configs with lists of ids."""
SETTINGS = (
    *("model_max_length", "padding_side", "truncation_side", "model_input_names"),
    *("chat_template", "clean_up_tokenization_spaces"),
)
"""Attributes of a tokenizer beside its JSON description."""


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

    Special and added tokens, bytes and the piece for unknown characters, single ASCII characters,
    all pieces of some scripts, and pieces seen. For BPE also the byte alphabet, and the pieces from
    which kept ones are merged.

    Args:
        tokenizer: the model's.
        scripts: keys of SCRIPTS.
        seen: ids that occur in the corpora.

    Raises:
        UserError: if the tokenizer is not a fast one, such as MeCab's: it has no JSON description
            that could be trimmed.
    """
    description = describe(tokenizer)
    vocabulary = tokenizer.get_vocab()
    keep = set(tokenizer.all_special_ids) | set(tokenizer.added_tokens_decoder) | set(seen)
    keep |= {
        i
        for piece, i in vocabulary.items()
        if len(piece.lstrip(WORD_STARTS)) <= 1 and piece.isascii()
    }
    keep |= {vocabulary[p] for p in WORD_STARTS if p in vocabulary}
    unknown = description["model"].get("unk_token")
    unknown_ids = (vocabulary.get(unknown), description["model"].get("unk_id"))
    keep |= {i for i in unknown_ids if i is not None}
    if description["model"].get("byte_fallback"):
        keep |= {i for piece, i in vocabulary.items() if BYTE.fullmatch(piece)}
    for script in scripts:
        keep |= pieces_of_script(vocabulary, script)
    return sorted(keep | _parts_of_merges(description, keep))


def describe(tokenizer: PreTrainedTokenizerBase) -> dict[str, Any]:
    """The JSON description of a fast tokenizer.

    Raises:
        UserError: if the tokenizer is not a fast one.
    """
    if not isinstance(tokenizer, PreTrainedTokenizerFast):
        raise UserError(
            f"cannot trim a {type(tokenizer).__name__}: use a model whose tokenizer has a "
            "tokenizer.json, or another method, and in a study remove `vocabulary`"
        )
    return json.loads(tokenizer.backend_tokenizer.to_str())


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


def most_frequent_ids(
    tokenizer: PreTrainedTokenizerBase, counts: Tensor, keep: list[int], n: int
) -> list[int]:
    """Ids to keep and those of the most frequent other tokens, `n` in all, ascending.

    A character counts in each piece that contains it, as a dropped piece is split into it. A piece
    of BPE is kept only with the pieces from which it is merged.

    Args:
        tokenizer: the model's.
        counts: (V,) counts of its tokens.
        keep: at most n ids from `kept_ids`.
        n: number of ids; the result has fewer if there are no more tokens.
    """
    description = describe(tokenizer)
    vocabulary = tokenizer.get_vocab()
    totals = _with_characters(counts, vocabulary, description)
    parts = _direct_parts(description)
    chosen = set(keep)
    known = (i for i in vocabulary.values() if i < len(totals))
    for i in sorted(known, key=lambda i: (-totals[i], i)):
        if len(chosen) == n:
            break
        added, pending = set(), [i]
        while pending:
            part = pending.pop()
            if part not in chosen and part not in added:
                added.add(part)
                pending += parts.get(part, ())
        if len(chosen) + len(added) <= n:
            chosen |= added
    return sorted(chosen)


def _with_characters(
    counts: Tensor, vocabulary: dict[str, int], description: dict[str, Any]
) -> list[int]:
    """Counts in which a character, at the start of a word or within, has those of its pieces."""
    given = counts.tolist()
    totals = list(given)
    prefix = description["model"].get("continuing_subword_prefix") or ""
    for piece, i in vocabulary.items():
        text = piece.removeprefix(prefix)
        if i >= len(given) or not given[i] or len(text) == 1:
            continue
        for character in {*text, *(prefix + character for character in text)}:
            if vocabulary.get(character, len(totals)) < len(totals):
                totals[vocabulary[character]] += given[i]
    return totals


def _direct_parts(description: dict[str, Any]) -> dict[int, list[int]]:
    """For BPE: ids of the pieces from which a piece is merged, by its id."""
    parts: dict[int, list[int]] = {}
    model = description["model"]
    for left, right in model["merges"] if model["type"] == "BPE" else ():
        if left + right in model["vocab"]:
            pair = [model["vocab"][left], model["vocab"][right]]
            parts.setdefault(model["vocab"][left + right], []).extend(pair)
    return parts


def trim_tokenizer(tokenizer: PreTrainedTokenizerBase, keep: list[int]) -> PreTrainedTokenizerFast:
    """Build the tokenizer with only the pieces `keep`, numbered in that order.

    Texts are split into kept pieces: those of WordPiece and Unigram by the vocabulary, those of BPE
    by the merges whose result is kept.

    Raises:
        UserError: if the tokenizer is neither Unigram, WordPiece nor BPE, or its ids cannot be
            renumbered.
    """
    description = describe(tokenizer)
    new_id = {old: new for new, old in enumerate(keep)}
    model = description["model"]
    if model["type"] == "Unigram":
        model["vocab"] = [model["vocab"][old] for old in keep if old < len(model["vocab"])]
        model["unk_id"] = None if model["unk_id"] is None else new_id[model["unk_id"]]
    elif model["type"] in ("WordPiece", "BPE"):
        model["vocab"] = {
            piece: new_id[old] for piece, old in model["vocab"].items() if old in new_id
        }
    else:
        raise UserError(
            f"cannot trim a tokenizer of type {model['type']}: use a model with a WordPiece, "
            "Unigram or BPE tokenizer, or another method, and in a study remove `vocabulary`"
        )
    if model["type"] == "BPE":
        vocabulary = model["vocab"]
        model["merges"] = [(a, b) for a, b in model["merges"] if {a, b, a + b} <= vocabulary.keys()]
    for token in description["added_tokens"]:
        token["id"] = new_id[token["id"]]
    _renumber_post_processor(description.get("post_processor") or {}, new_id)
    backend = type(tokenizer.backend_tokenizer).from_str(json.dumps(description))
    settings = {name: getattr(tokenizer, name, None) for name in SETTINGS}
    given = {name: value for name, value in settings.items() if value is not None}
    trimmed = PreTrainedTokenizerFast(
        tokenizer_object=backend, **given, **tokenizer.special_tokens_map
    )
    vocabulary = tokenizer.get_vocab()
    for piece, i in trimmed.get_vocab().items():
        if new_id.get(vocabulary.get(piece, -1)) != i:
            raise UserError(
                f"cannot trim this tokenizer: its token {piece!r} gets an id of its own; use "
                "another model, and in a study remove `vocabulary`"
            )
    return trimmed


def _renumber_post_processor(processor: dict[str, Any], new_id: dict[int, int]) -> None:
    """Renumber the ids that a post-processor adds, or those in a sequence of them, in place.

    They are under `special_tokens` of a template, and beside `sep` and `cls` of BERT's and
    RoBERTa's.
    """
    for part in processor.get("processors", ()):
        _renumber_post_processor(part, new_id)
    for token in (processor.get("special_tokens") or {}).values():
        token["ids"] = [new_id[i] for i in token["ids"]]
    for mark in ("sep", "cls"):
        if isinstance(processor.get(mark), list):
            processor[mark][1] = new_id[processor[mark][1]]


def write_kept_ids(ids: list[int], folder: Path) -> None:
    """Write the ids of the kept rows, which `read_kept_ids` reads, to a folder."""
    save_file({"ids": torch.tensor(ids)}, folder / KEPT_IDS)


def read_kept_ids(folder: Path) -> list[int] | None:
    """Ids of the rows that trimming kept; None of a folder whose vocabulary is not trimmed."""
    file = folder / KEPT_IDS
    return load_file(file)["ids"].tolist() if file.is_file() else None


def trim_model(model: PreTrainedModel, keep: list[int]) -> None:
    """Keep only the rows `keep` of a model's embedding and output head, tied or not.

    The ids of tokens in its configs are renumbered.
    """
    embedding = find_embedding(model)[1]
    n_rows = embedding.num_embeddings
    head = model.get_output_embeddings()
    rows = torch.tensor(keep)
    matrices = [embedding.weight] if head is None else [embedding.weight, head.weight]
    trimmed = {id(m): nn.Parameter(m.detach()[rows].clone()) for m in matrices}
    for module in model.modules():
        for name, weight in module.named_parameters(recurse=False):
            if id(weight) in trimmed:
                setattr(module, name, trimmed[id(weight)])
                size = "num_embeddings" if isinstance(module, nn.Embedding) else "out_features"
                setattr(module, size, len(keep))
    _trim_biases(model, {id(weight) for weight in trimmed.values()}, n_rows, rows)
    new_id = {old: new for new, old in enumerate(keep)}
    for config in _configs(model):
        if getattr(config, "vocab_size", None) == n_rows:
            config.vocab_size = len(keep)
        for name in _token_id_names(config):
            setattr(config, name, _renumbered(getattr(config, name), new_id))


def _trim_biases(model: nn.Module, heads: set[int], n_rows: int, rows: Tensor) -> None:
    """Keep the entries `rows` of biases of `n_rows` entries, in place.

    Args:
        model: the model.
        heads: `id` of the weights of its embedding and head.
        n_rows: number of rows before trimming.
        rows: int64 (n,).
    """
    for module in model.modules():
        weight = getattr(module, "weight", None)
        # A module with another weight is no head, such as a norm over as many features as rows.
        if weight is not None and id(weight) not in heads:
            continue
        own = [*module.named_parameters(recurse=False), *module.named_buffers(recurse=False)]
        for name, bias in own:
            if name.endswith("bias") and bias.numel() == n_rows == bias.shape[-1]:
                bias.data = bias.data[..., rows].clone()


def ids_in_configs(model: PreTrainedModel) -> set[int]:
    """Ids of tokens that a model's configs name, which trimming must keep."""
    n_rows = find_embedding(model)[1].num_embeddings
    values = [getattr(c, name) for c in _configs(model) for name in _token_id_names(c)]
    return {i for i in _flatten(values) if 0 <= i < n_rows}


def ids_before_padding(model: PreTrainedModel) -> set[int]:
    """Ids up to that of the padding token in models that number positions from it.

    RoBERTa's positions begin behind its padding id, so it must not be renumbered.
    """
    tables = [
        module
        for name, module in model.named_modules()
        if name.rpartition(".")[2] in POSITION_TABLES and not getattr(module, "offset", 0)
    ]
    padding = [getattr(table, "padding_idx", None) for table in tables]
    n_positions = [getattr(table, "num_embeddings", None) for table in tables]
    # Marian's table has a padding id too, but beyond its positions.
    bounds = [p + 1 for p, n in zip(padding, n_positions) if p is not None and (not n or p < n)]
    return set(range(max(bounds, default=0)))


def _configs(model: PreTrainedModel) -> list[Any]:
    """A model's config, those of its parts, and its generation config."""
    configs: list[Any] = [
        part.config for part in model.modules() if isinstance(part, PreTrainedModel)
    ]
    configs += [config.get_text_config() for config in configs]
    configs.append(getattr(model, "generation_config", None))
    return list({id(config): config for config in configs if config is not None}.values())


def _token_id_names(config: Any) -> list[str]:
    """Attributes of a config that hold ids of tokens: a number, or lists of them."""
    return [
        name
        for name, value in vars(config).items()
        if value is not None and (name.endswith("_token_id") or name in TOKEN_LISTS)
    ]


def _flatten(value: Any) -> Iterator[int]:
    """All whole numbers in nested lists."""
    if isinstance(value, (list, tuple)):
        for item in value:
            yield from _flatten(item)
    elif isinstance(value, int):
        yield value


def _renumbered(value: Any, new_id: dict[int, int]) -> Any:
    """Ids in nested lists by their new numbers; those that are not kept are left out of lists."""
    if isinstance(value, (list, tuple)):
        items = [_renumbered(item, new_id) for item in value]
        return [item for item in items if item is not None]
    return new_id.get(value)
