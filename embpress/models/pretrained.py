"""Local folders of transformers, opened as their config says: the class, the weights as they are,
the tokenizer.

Nothing is run or unpickled that a folder brings along: only transformers' own classes and
safetensors weights.
"""

from pathlib import Path
from typing import Any

import transformers
from transformers import AutoConfig, PreTrainedConfig, PreTrainedModel, PreTrainedTokenizerBase
from transformers.utils import logging as transformers_logging

from ..errors import UserError
from ..files import first_line, read_json
from .tokenization import load_tokenizer

# Bars and load reports would bury what the user is told; what is missing or left over is checked
# here.
transformers_logging.disable_progress_bar()
transformers_logging.set_verbosity_error()

CONFIG = "config.json"


def config_of(folder: Path) -> PreTrainedConfig:
    """A folder's config.

    Raises:
        UserError: if there is none, or it is of a model that transformers does not know or that is
            already quantised.
    """
    if not (folder / CONFIG).is_file():
        raise UserError(f"{folder} holds no {CONFIG}: name a folder in transformers' layout")
    try:
        raw = read_json(folder / CONFIG)
        config = AutoConfig.from_pretrained(folder, local_files_only=True, trust_remote_code=False)
    # transformers' config classes check their values in ways of their own.
    except Exception as error:
        raise UserError(
            f"{folder / CONFIG} is of no model that transformers has ({first_line(error)}): mend it"
        ) from error
    if raw.get("quantization_config"):
        raise UserError(f"{folder} is quantised already: take the model that it was made from")
    return config


def class_of(config: PreTrainedConfig, folder: Path) -> type[PreTrainedModel]:
    """The class that a config names under `architectures`, head included; without one, the model
    without a head.

    Raises:
        UserError: if transformers has no such class.
    """
    names = config.architectures
    if not names:
        mapping: Any = transformers.MODEL_MAPPING
        if type(config) not in mapping:
            raise UserError(f"{folder / CONFIG} names no architecture: add `architectures` to it")
        return mapping[type(config)]
    found = getattr(transformers, names[0], None) if isinstance(names[0], str) else None
    if not (isinstance(found, type) and issubclass(found, PreTrainedModel)) or not isinstance(
        config, found.config_class or ()
    ):
        raise UserError(
            f"{folder / CONFIG} names the architecture {names[0]!r}, which is none of transformers: mend it"
        )
    return found


def open_dense(folder: Path) -> PreTrainedModel:
    """The model of a folder for inference, in the type that its weights are stored in.

    Raises:
        UserError: if the folder holds no whole safetensors model.
    """
    config = config_of(folder)
    kind = class_of(config, folder)
    try:
        loaded: Any = kind.from_pretrained(
            folder,
            dtype="auto",
            local_files_only=True,
            use_safetensors=True,
            output_loading_info=True,
            ignore_mismatched_sizes=True,  # told below
        )
    except Exception as error:  # transformers, safetensors and torch each fail in their own ways
        raise UserError(
            f"{folder} holds no whole {kind.__name__} in safetensors ({first_line(error)}): save it with save_pretrained"
        ) from error
    model, info = loaded
    for name, found, wanted in sorted(info["mismatched_keys"]):
        raise UserError(
            f"{folder}: {name} is {list(found)}, but config.json wants {list(wanted)}: save model and config together"
        )
    if info["missing_keys"]:
        name = min(info["missing_keys"])
        raise UserError(
            f"{folder} lacks {len(info['missing_keys'])} weights of {kind.__name__}, first {name}: "
            "save the model with save_pretrained once, or name the right class under `architectures` in its config.json"
        )
    return model.eval()


def tokenizer_of(folder: Path) -> PreTrainedTokenizerBase | None:
    """A folder's tokenizer; None where it holds none that loads without foreign code."""
    try:
        return load_tokenizer(folder)
    except UserError:  # no error here: only counts by token need it
        return None


def special_ids(
    config: PreTrainedConfig, tokenizer: PreTrainedTokenizerBase | None, n_rows: int
) -> tuple[int, ...]:
    """Rows of special tokens, as the tokenizer or else the config names them."""
    found: list[Any]
    if tokenizer is not None:
        found = list(tokenizer.all_special_ids)
    else:
        text = config.get_text_config()
        values = [getattr(text, f"{name}_token_id", None) for name in ("pad", "bos", "eos")]
        found = [i for value in values for i in (value if isinstance(value, list) else [value])]
    return tuple(sorted({i for i in found if isinstance(i, int) and 0 <= i < n_rows}))
