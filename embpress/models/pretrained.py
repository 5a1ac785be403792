"""Open local transformers folders: the class that the config names, weights in their stored dtype,
and the tokenizer.

No code and no pickle of a folder is ever run: only classes of transformers and safetensors weights
are loaded.
"""

from pathlib import Path
from typing import Any

import transformers
from transformers import AutoConfig, PreTrainedConfig, PreTrainedModel, PreTrainedTokenizerBase
from transformers.utils import logging as transformers_logging

from ..errors import UserError
from ..files import read_json, summarize_error
from .tokenization import load_tokenizer

# Progress bars and load reports would hide embpress's messages. Missing and mismatched weights are
# checked here.
transformers_logging.disable_progress_bar()
transformers_logging.set_verbosity_error()

CONFIG = "config.json"


def read_config(folder: Path) -> PreTrainedConfig:
    """Read the config of a model folder.

    Raises:
        UserError: if it is missing or invalid, the installed transformers does not support its
            model type, or the weights are quantized.
    """
    if not (folder / CONFIG).is_file():
        raise UserError(f"{folder} contains no {CONFIG}: name a folder in transformers' layout")
    raw = {}
    try:
        raw = read_json(folder / CONFIG)
        config = AutoConfig.from_pretrained(folder, local_files_only=True, trust_remote_code=False)
    except Exception as error:  # config classes raise many types of exceptions for invalid values
        model_type = raw.get("model_type")
        if raw and model_type not in transformers.CONFIG_MAPPING:
            raise UserError(
                f"{folder / CONFIG}: model type {model_type!r} not supported by the installed "
                "transformers: update transformers, or use another model"
            ) from error
        raise UserError(
            f"{folder / CONFIG} is not a valid config ({summarize_error(error)}): correct it"
        ) from error
    if raw.get("quantization_config"):
        raise UserError(f"{folder} is already quantized: compress the model that it was made from")
    return config


def find_model_class(config: PreTrainedConfig, folder: Path) -> type[PreTrainedModel]:
    """Find the class that a config names under `architectures`, or else the model without a head.

    Raises:
        UserError: if the installed transformers has no such class.
    """
    names = config.architectures
    if not names:
        mapping: Any = transformers.MODEL_MAPPING
        if type(config) not in mapping:
            raise UserError(f"{folder / CONFIG} names no architecture: add `architectures` to it")
        return mapping[type(config)]
    candidate: Any = getattr(transformers, names[0], None) if isinstance(names[0], str) else None
    is_model = isinstance(candidate, type) and issubclass(candidate, PreTrainedModel)
    if not is_model or not isinstance(config, candidate.config_class or ()):
        raise UserError(
            f"{folder / CONFIG} names the architecture {names[0]!r}, which the installed "
            f"transformers does not have for model type {config.model_type!r}: correct it"
        )
    return candidate


def load_dense_model(folder: Path) -> PreTrainedModel:
    """Load the model of a folder for inference, in the dtype of its stored weights.

    Raises:
        UserError: if the folder contains no complete model in safetensors.
    """
    config = read_config(folder)
    model_class = find_model_class(config, folder)
    try:
        loaded: Any = model_class.from_pretrained(
            folder,
            dtype="auto",
            local_files_only=True,
            use_safetensors=True,
            output_loading_info=True,
            ignore_mismatched_sizes=True,  # reported below
        )
    except Exception as error:  # transformers, safetensors and torch have exceptions of their own
        raise UserError(
            f"{folder} contains no complete {model_class.__name__} in safetensors "
            f"({summarize_error(error)}): save it with save_pretrained"
        ) from error
    model, info = loaded
    for name, stored_shape, config_shape in sorted(info["mismatched_keys"]):
        raise UserError(
            f"{folder}: {name} has shape {list(stored_shape)}, but by {CONFIG} "
            f"{list(config_shape)}: save model and config together"
        )
    if info["missing_keys"]:
        raise UserError(
            f"{folder} lacks {len(info['missing_keys'])} weights of {model_class.__name__}, first "
            f"{min(info['missing_keys'])}: save the model with save_pretrained once, or name the "
            f"right class under `architectures` in its {CONFIG}"
        )
    return model.eval()


def load_tokenizer_if_any(folder: Path) -> PreTrainedTokenizerBase | None:
    """The tokenizer of a folder, or None if none loads without running the folder's code."""
    try:
        return load_tokenizer(folder)
    except UserError:  # only counts by token need a tokenizer
        return None


def find_special_ids(
    config: PreTrainedConfig, tokenizer: PreTrainedTokenizerBase | None, n_rows: int
) -> tuple[int, ...]:
    """Ids below `n_rows` of the special tokens that the tokenizer, or else the config, names."""
    ids: list[Any]
    if tokenizer is not None:
        ids = list(tokenizer.all_special_ids)
    else:
        text_config = config.get_text_config()
        values = [getattr(text_config, f"{name}_token_id", None) for name in ("pad", "bos", "eos")]
        ids = [i for value in values for i in (value if isinstance(value, list) else [value])]
    return tuple(sorted({i for i in ids if isinstance(i, int) and 0 <= i < n_rows}))
