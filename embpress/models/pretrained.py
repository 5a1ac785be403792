"""Open local transformers folders: the class that the config names, weights in their stored dtype,
and the tokenizer.

No code and no pickle of a folder is ever run: only classes of transformers and safetensors weights
are loaded.
"""

import functools
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any

import torch
import transformers
from torch import Tensor
from transformers import (
    AutoConfig,
    GenerationConfig,
    PreTrainedConfig,
    PreTrainedModel,
    PreTrainedTokenizerBase,
)

from ..errors import UserError
from ..files import MAX_MODEL_JSON_BYTES, read_json, summarize_error
from ..numerics.matrices import read_tensors
from ..safetensors_header import read_header
from .quiet import quiet_transformers
from .tokenization import (
    TOKENIZER_CONFIG,
    MissingPackage,
    load_tokenizer,
    read_special_ids,
)

CONFIG = "config.json"
GENERATION_CONFIG = "generation_config.json"
WEIGHTS = "model.safetensors"
FLOAT_DTYPES = {
    "F64": torch.float64,
    "F32": torch.float32,
    "F16": torch.float16,
    "BF16": torch.bfloat16,
}
"""By the names of safetensors."""


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
        raw = read_json(folder / CONFIG, MAX_MODEL_JSON_BYTES)
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


def _stored_dtypes(folder: Path) -> dict[str, torch.dtype]:
    """Dtypes of the floating-point tensors of a folder's safetensors files, by name."""
    return {
        name: FLOAT_DTYPES[tensor.dtype]
        for path in _weight_files(folder)
        for name, tensor in read_header(path).tensors.items()
        if tensor.dtype in FLOAT_DTYPES
    }


def _read_weights(folder: Path, without: str) -> dict[str, Tensor]:
    """All tensors of a folder's safetensors files but one, read into memory."""
    weights: dict[str, Tensor] = {}
    for path in _weight_files(folder):
        names = read_header(path).tensors.keys() - {without}
        weights |= read_tensors(path, sorted(names))
    return weights


def _weight_files(folder: Path) -> list[Path]:
    """The safetensors files of a folder: one, or shards."""
    file = folder / WEIGHTS
    return [file] if file.is_file() else sorted(folder.glob("*.safetensors"))


def _widest(dtypes: Iterable[torch.dtype]) -> torch.dtype | str:
    """The narrowest dtype that represents all values of some dtypes; "auto" if there are none."""
    return functools.reduce(torch.promote_types, dtypes) if (dtypes := list(dtypes)) else "auto"


def _load(
    folder: Path,
    model_class: type[PreTrainedModel],
    dtype: torch.dtype | str,
    weights: dict[str, Tensor] | None = None,
) -> tuple[PreTrainedModel, dict[str, Any]]:
    """Load a model, with these weights or all of its folder, and what transformers says about keys
    of its weights.
    """
    given: dict[str, Any] = (
        {} if weights is None else {"config": read_config(folder), "state_dict": weights}
    )
    with quiet_transformers():
        loaded: Any = model_class.from_pretrained(
            None if given else folder,
            # The config's dtype may be another: fp32 weights overflow in the fp16 of a config.
            dtype=dtype,
            local_files_only=True,
            use_safetensors=True,
            output_loading_info=True,
            ignore_mismatched_sizes=True,  # reported by the caller
            **given,
        )
        if given and (folder / GENERATION_CONFIG).is_file():
            generation = GenerationConfig.from_pretrained(folder, local_files_only=True)
            loaded[0].generation_config = generation
    return loaded


def load_dense_model(
    folder: Path,
    adapt: Callable[[type[PreTrainedModel]], type[PreTrainedModel]] = lambda kind: kind,
    without: str | None = None,
) -> PreTrainedModel:
    """Load the model of a folder for inference, in the dtype of its stored weights.

    Args:
        folder: folder with config.json and safetensors weights.
        adapt: gives the class to load, such as one without some weights, by the config's class.
        without: name of a tensor that is not read, as its file may be larger than the memory.

    Raises:
        UserError: if the folder contains no complete model in safetensors.
    """
    config = read_config(folder)
    model_class = adapt(find_model_class(config, folder))
    try:
        stored = _stored_dtypes(folder)
        weights = None if without is None else _read_weights(folder, without)
        stored.pop(without or "", None)
        model, info = _load(folder, model_class, _widest(stored.values()), weights)
        # Tensors that the model ignores, such as the rotary frequencies of old checkpoints, are
        # often wider than the weights.
        used = {dtype for name, dtype in stored.items() if name not in info["unexpected_keys"]}
        if used and _widest(used) != _widest(stored.values()):
            model, info = _load(folder, model_class, _widest(used), weights)
    except Exception as error:  # transformers, safetensors and torch have exceptions of their own
        raise UserError(
            f"{folder} contains no complete {model_class.__name__} in safetensors "
            f"({summarize_error(error)}): save it with save_pretrained"
        ) from error
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


def save_model(model: PreTrainedModel, folder: Path) -> None:
    """Write a model as `save_pretrained` does, with generation settings that it would refuse.

    transformers reads settings that contradict each other with a warning, but does not write them.
    """
    settings = getattr(model, "generation_config", None)
    if settings is None:
        model.save_pretrained(folder)
        return
    model.generation_config = type(settings)()
    try:
        with quiet_transformers():
            model.save_pretrained(folder)
    finally:
        model.generation_config = settings
    settings.to_json_file(folder / GENERATION_CONFIG)


def open_tokenizer(folder: Path, progress: Callable[[str], None]) -> PreTrainedTokenizerBase | None:
    """The tokenizer of a folder, or None if it has none or one that needs code of its own.

    Args:
        folder: a model's folder.
        progress: called with a message if the folder has a tokenizer that cannot be loaded.

    Raises:
        UserError: if the tokenizer needs a package that is not installed.
    """
    try:
        return load_tokenizer(folder)
    except MissingPackage:
        raise
    except UserError as error:  # only counts by token need a tokenizer
        if (folder / TOKENIZER_CONFIG).is_file():
            progress(f"{error}; special tokens are read from its files")
        return None


def find_special_ids(
    folder: Path,
    config: PreTrainedConfig,
    tokenizer: PreTrainedTokenizerBase | None,
    n_rows: int,
) -> tuple[int, ...]:
    """Ids below `n_rows` of the special tokens that the tokenizer, or else its and the model's
    config, names.
    """
    ids: list[Any]
    if tokenizer is not None:
        ids = list(tokenizer.all_special_ids)
    else:
        text_config = config.get_text_config()
        values = [getattr(text_config, f"{n}_token_id", None) for n in ("pad", "bos", "eos")]
        ids = [i for value in values for i in (value if isinstance(value, list) else [value])]
        ids += read_special_ids(folder)
    return tuple(sorted({i for i in ids if isinstance(i, int) and 0 <= i < n_rows}))
