"""A checkpoint's tokenizer, whichever of transformers' classes it has, and never code that a folder brings along."""

from pathlib import Path
from typing import Any

from transformers import AutoTokenizer, BertJapaneseTokenizer, PreTrainedTokenizerBase

from .errors import UserError
from .storage import first_line, read_json

TOKENIZER_CONFIG = "tokenizer_config.json"

SAME_AS: dict[str, tuple[type[PreTrainedTokenizerBase], dict[str, Any]]] = {
    # LINE DistilBERT's own class, for which its folder brings code: MeCab, then SentencePiece, of lower-cased text.
    "DistilBertJapaneseTokenizer": (
        BertJapaneseTokenizer,
        {
            "word_tokenizer_type": "mecab",
            "subword_tokenizer_type": "sentencepiece",
            "mecab_kwargs": {"mecab_dic": "unidic_lite"},
        },
    ),
}
"""Tokenizer classes of foreign code, and the class of transformers with the settings that does the same."""


def load_tokenizer(folder: Path) -> PreTrainedTokenizerBase:
    """The tokenizer of a local folder.

    Raises:
        UserError: if there is none that loads without foreign code.
    """
    try:
        file = folder / TOKENIZER_CONFIG
        settings = read_json(file) if file.is_file() else {}
        if settings.get("tokenizer_class") in SAME_AS:
            kind, defaults = SAME_AS[settings["tokenizer_class"]]
            missing = {key: value for key, value in defaults.items() if key not in settings}
            tokenizer = kind.from_pretrained(folder, local_files_only=True, **missing)
            tokenizer.init_kwargs.pop("auto_map", None)  # where it is saved again, nothing shall name foreign code
            return tokenizer
        return AutoTokenizer.from_pretrained(folder, local_files_only=True, trust_remote_code=False)
    # A missing file, package or class fails in many ways, each with its own exception.
    except Exception as error:
        raise UserError(f"{folder} holds no tokenizer that loads ({first_line(error)}): complete its files") from error
