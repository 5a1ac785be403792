"""A checkpoint's tokenizer, whichever of transformers' classes it has.

And never code that a folder brings along.
"""

from pathlib import Path
from typing import Any

import torch
from torch import Tensor
from transformers import AutoTokenizer, BertJapaneseTokenizer, PreTrainedTokenizerBase

from ..errors import UserError
from ..files import first_line, read_json

TOKENIZER_CONFIG = "tokenizer_config.json"

SAME_AS: dict[str, tuple[type[PreTrainedTokenizerBase], dict[str, Any]]] = {
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
"""Tokenizer classes of foreign code.

And the class of transformers with the settings that does the same.
"""


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
            tokenizer.init_kwargs.pop(
                "auto_map", None
            )  # where it is saved again, nothing shall name foreign code
            return tokenizer
        return AutoTokenizer.from_pretrained(folder, local_files_only=True, trust_remote_code=False)
    # A missing file, package or class fails in many ways, each with its own exception.
    except Exception as error:
        raise UserError(
            f"{folder} holds no tokenizer that loads ({first_line(error)}): complete its files"
        ) from error


def blocks_of_text(
    texts: list[str], tokenizer: PreTrainedTokenizerBase, block: int, n_tokens: int, special: bool
) -> Tensor:
    """Blocks of token ids, evenly spread over the texts: (n, block), about n_tokens in all.

    Args:
        texts: running text.
        tokenizer: the model's.
        block: tokens a block, special ones included.
        n_tokens: as many, or as many as the texts have.
        special: whether each block stands between the tokenizer's [CLS] and [SEP].

    Raises:
        UserError: if the texts do not fill a block.
    """
    before, after = (
        [i] if special and i is not None else []
        for i in (tokenizer.cls_token_id, tokenizer.sep_token_id)
    )
    inner = block - len(before) - len(after)
    stream = tokenizer("\n".join(texts), add_special_tokens=False, return_tensors="pt")[
        "input_ids"
    ][0].long()
    whole = stream[: len(stream) // inner * inner].view(-1, inner)
    if not len(whole):
        raise UserError(
            f"the corpus has {len(stream)} tokens, which do not fill a block of {inner}: take a larger corpus"
        )
    wanted = max(1, min(n_tokens // block, len(whole)))
    chosen = whole[torch.linspace(0, len(whole) - 1, wanted).round().long()]
    ends = [torch.tensor(ids, dtype=torch.int64).expand(wanted, -1) for ids in (before, after)]
    return torch.cat([ends[0], chosen, ends[1]], 1)
