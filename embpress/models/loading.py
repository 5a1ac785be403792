"""Load the models of studies: the class for a head, weights in one type, on one device."""

from pathlib import Path
from typing import Any

import torch
import transformers
from transformers import (
    AutoConfig,
    AutoModel,
    AutoModelForCausalLM,
    AutoModelForMaskedLM,
    AutoModelForMultipleChoice,
    AutoModelForQuestionAnswering,
    AutoModelForSequenceClassification,
    PreTrainedConfig,
    PreTrainedModel,
)

from ..errors import UserError
from ..files import summarize_error
from ..numerics.device import CPU
from ..numerics.timing import STARTUP
from .quiet import quiet_transformers

CHECKPOINT = "base model"
"""Stands for all of a model without a head: of T5 and CLIP more than the text encoder."""
AUTO_CLASSES = {
    CHECKPOINT: AutoModel,
    "encoder": AutoModel,
    "classifier": AutoModelForSequenceClassification,
    "causal_lm": AutoModelForCausalLM,
    "masked_lm": AutoModelForMaskedLM,
    "multiple_choice": AutoModelForMultipleChoice,
    "span": AutoModelForQuestionAnswering,
}


def auto_class(head: str) -> Any:
    """Auto class that loads a model with a head, by a key of AUTO_CLASSES or by its own name.

    Raises:
        AttributeError: if transformers has no such class.
    """
    return AUTO_CLASSES.get(head) or getattr(transformers, head)


def class_with_head(folder: Path, head: str) -> Any:
    """Class that loads a folder's model with a head.

    For `encoder` that is the text encoder alone, which of T5 and CLIP is a part of the model.

    Raises:
        UserError: if the config is invalid, or transformers has no such head for the model.
    """
    try:
        with quiet_transformers():
            config = AutoConfig.from_pretrained(folder, local_files_only=True)
    except Exception as error:  # config classes raise many types of exceptions for invalid values
        raise UserError(
            f"{folder} contains no model that loads as {head} ({summarize_error(error)}): "
            "save it again with save_pretrained"
        ) from error
    encoder_only = _encoder_only_class(config)
    if head == "encoder":
        encoders: Any = transformers.MODEL_FOR_TEXT_ENCODING_MAPPING
        for candidate in (config, config.get_text_config()):
            if type(candidate) in encoders:
                return encoders[type(candidate)]
    if head in (CHECKPOINT, "encoder"):
        return encoder_only or AutoModel
    auto = auto_class(head)
    if encoder_only is not None or type(config) not in auto._model_mapping:
        name = encoder_only.__name__ if encoder_only else type(config).__name__
        raise UserError(
            f"{folder} holds a model ({name}) for which transformers has no {auto.__name__}: use "
            "another model, or a task of a kind that needs no head, such as similarity"
        )
    return auto


def _encoder_only_class(config: PreTrainedConfig) -> Any:
    """Class of a checkpoint that holds only the encoder of an encoder-decoder model, or None."""
    name = (config.architectures or [""])[0]
    return getattr(transformers, name, None) if name.endswith("EncoderModel") else None


@STARTUP
def load_model(
    folder: Path, head: str, device: torch.device = CPU, dtype: torch.dtype = torch.float32
) -> PreTrainedModel:
    """Load a checkpoint for inference.

    Args:
        folder: the checkpoint's folder.
        head: as in `class_with_head`.
        device: where the model runs.
        dtype: in which type it computes.

    Raises:
        UserError: if the folder contains no model that transformers can load offline.
    """
    model_class = class_with_head(folder, head)
    try:
        with quiet_transformers():
            model = model_class.from_pretrained(folder, dtype=dtype, local_files_only=True)
    except Exception as error:  # transformers, safetensors and torch have exceptions of their own
        raise UserError(
            f"{folder} contains no model that loads as {head} ({summarize_error(error)}): "
            "save it again with save_pretrained"
        ) from error
    return model.to(device).eval()
