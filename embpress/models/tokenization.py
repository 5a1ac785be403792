"""Load the tokenizer of a local folder without running code from it, and cut text into blocks."""

import re
from pathlib import Path
from typing import Any

import torch
from torch import Tensor
from transformers import AutoTokenizer, BertJapaneseTokenizer, PreTrainedTokenizerBase
from transformers.tokenization_utils_base import VERY_LARGE_INTEGER

from ..errors import UserError
from ..files import MAX_MODEL_JSON_BYTES, read_json, summarize_error
from ..numerics.timing import STARTUP

TOKENIZER_CONFIG = "tokenizer_config.json"
ADDED = "added_tokens"
MISSING_PACKAGE = re.compile(
    r"pip install `?([\w-]+)|requires? (?:the )?`?([\w-]+)`? (?:library|package)|"
    r"No module named '([\w-]+)"
)
"""How transformers and Python name a package that is not installed."""

EQUIVALENT_CLASSES: dict[str, tuple[type[PreTrainedTokenizerBase], dict[str, Any]]] = {
    # LINE DistilBERT's own class, for which its folder brings code: MeCab, then SentencePiece, of
    # lower-cased text.
    "DistilBertJapaneseTokenizer": (
        BertJapaneseTokenizer,
        {
            "word_tokenizer_type": "mecab",
            "subword_tokenizer_type": "sentencepiece",
            "mecab_kwargs": {"mecab_dic": "unidic_lite"},
        },
    ),
}
"""Tokenizer classes whose code is in a model's folder, by name: a class of transformers, and the
settings with which it gives the same tokens."""


class MissingPackage(UserError):
    """A tokenizer needs a package that is not installed."""


def _missing_package(error: BaseException | None) -> str:
    """Name of the package whose absence caused an error; empty if it had another cause."""
    while error is not None:
        if isinstance(error, ModuleNotFoundError) and error.name:
            return error.name
        if isinstance(error, ImportError) and (match := MISSING_PACKAGE.search(str(error))):
            return next(name for name in match.groups() if name)
        error = error.__cause__ or error.__context__
    return ""


def read_special_ids(folder: Path) -> list[int]:
    """Ids of the special tokens that the files of a tokenizer name, without loading it.

    They are those of `added_tokens` in tokenizer.json and `added_tokens_decoder` in
    tokenizer_config.json that are marked as special.
    """
    entries: list[tuple[Any, Any]] = []
    for name, key in ((TOKENIZER_CONFIG, "added_tokens_decoder"), ("tokenizer.json", ADDED)):
        try:
            value = read_json(folder / name, MAX_MODEL_JSON_BYTES).get(key)
        except (OSError, ValueError):
            continue
        if isinstance(value, dict):
            entries += value.items()
        elif isinstance(value, list):
            entries += [(entry.get("id"), entry) for entry in value if isinstance(entry, dict)]
    return [
        int(i)
        for i, entry in entries
        if str(i).isdecimal() and isinstance(entry, dict) and entry.get("special")
    ]


@STARTUP
def load_tokenizer(folder: Path) -> PreTrainedTokenizerBase:
    """Load the tokenizer of a local folder.

    Raises:
        UserError: if it contains none that loads without running its own code.
    """
    try:
        file = folder / TOKENIZER_CONFIG
        settings = read_json(file, MAX_MODEL_JSON_BYTES) if file.is_file() else {}
        name = settings.get("tokenizer_class")
        if name in EQUIVALENT_CLASSES:
            tokenizer_class, defaults = EQUIVALENT_CLASSES[name]
            missing = {key: value for key, value in defaults.items() if key not in settings}
            tokenizer = tokenizer_class.from_pretrained(folder, local_files_only=True, **missing)
            # A saved copy must not refer to the folder's code.
            tokenizer.init_kwargs.pop("auto_map", None)
            return tokenizer
        return AutoTokenizer.from_pretrained(folder, local_files_only=True, trust_remote_code=False)
    except Exception as error:  # a missing file, package or class each raises its own exception
        if package := _missing_package(error):
            raise MissingPackage(
                f"the tokenizer of {folder} needs {package}, which is not installed: install it "
                "with pip"
            ) from error
        raise UserError(
            f"{folder} contains no tokenizer that loads ({summarize_error(error)}): "
            "complete its files"
        ) from error


def check_vocabulary(tokenizer: PreTrainedTokenizerBase, folder: Path) -> None:
    """Check that a tokenizer has a vocabulary.

    Without a vocabulary file, transformers builds a tokenizer that has special tokens only.

    Raises:
        UserError: if it has none.
    """
    if set(tokenizer.get_vocab()) <= set(tokenizer.all_special_tokens):
        raise UserError(f"{folder} contains no tokenizer: save the model's tokenizer there too")


def find_input_length(folder: Path, tokenizer: PreTrainedTokenizerBase) -> int | None:
    """Number of tokens that a model reads at once, by its tokenizer or else its config.

    None if neither says, as for models without positions.
    """
    if tokenizer.model_max_length < VERY_LARGE_INTEGER:
        return tokenizer.model_max_length
    file = folder / "config.json"
    config = read_json(file, MAX_MODEL_JSON_BYTES) if file.is_file() else {}
    names = ("max_position_embeddings", "n_positions")
    return next((config[name] for name in names if isinstance(config.get(name), int)), None)


def sample_token_blocks(
    texts: list[str], tokenizer: PreTrainedTokenizerBase, block: int, n_tokens: int, special: bool
) -> Tensor:
    """Blocks of token ids, spread evenly over the texts: int64 (n, block).

    Args:
        texts: running text.
        tokenizer: the model's.
        block: tokens of a block, special ones included.
        n_tokens: approximate number of tokens of all blocks; fewer where the texts have fewer.
        special: whether each block begins with the tokenizer's [CLS] and ends with its [SEP].

    Raises:
        UserError: if the texts do not fill a block.
    """
    first, last = (
        [i] if special and i is not None else []
        for i in (tokenizer.cls_token_id, tokenizer.sep_token_id)
    )
    inner = block - len(first) - len(last)
    encoded = tokenizer("\n".join(texts), add_special_tokens=False, return_tensors="pt")
    stream = encoded["input_ids"][0].long()
    complete = stream[: len(stream) // inner * inner].view(-1, inner)
    if not len(complete):
        raise UserError(
            f"the corpus has {len(stream)} tokens, which do not fill a block of {inner}: "
            "use a larger corpus"
        )
    n_blocks = max(1, min(n_tokens // block, len(complete)))
    chosen = complete[torch.linspace(0, len(complete) - 1, n_blocks).round().long()]
    ends = [torch.tensor(ids, dtype=torch.int64).expand(n_blocks, -1) for ids in (first, last)]
    return torch.cat([ends[0], chosen, ends[1]], 1)
