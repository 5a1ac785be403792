"""Texts on which a model is calibrated: tokens, batches, and runs of a model on a batch."""

from collections.abc import Iterator
from typing import Any, NamedTuple

import torch
from torch import Tensor
from transformers import PreTrainedModel, PreTrainedTokenizerBase

from ..errors import UserError

LONGEST = 256
"""Tokens of a text that are read."""
TOKENS_A_BATCH = 512
"""Tokens of a batch, which bound the memory of the backward pass."""
MASKED = 0.15
"""Share of tokens that are masked for a masked language model."""


class TextBatch(NamedTuple):
    """A batch of texts."""

    inputs: dict[str, Tensor]
    mask: Tensor
    """bool (B, T), where texts have tokens."""
    labels: Tensor
    """bool (B, T), tokens whose labels are predicted."""


class TextLayout(NamedTuple):
    """What the token ids of calibration texts do not tell."""

    token_types: list[list[int]] | None = None
    """Token type ids of each text, which tell the texts of a pair apart."""
    choices: int = 1
    """Consecutive texts that are the choices of one question, for multiple choice."""


SINGLE_TEXTS = TextLayout()
"""Texts that are no pairs and no choices."""


def encode_texts(
    texts: list[str], tokenizer: PreTrainedTokenizerBase, longest: int, in_parts: bool = False
) -> list[list[int]]:
    """Token ids of texts, cut to a number of tokens.

    Args:
        texts: the texts.
        tokenizer: of the model.
        longest: tokens of a text.
        in_parts: split longer texts into several, if the tokenizer is one of the library
            tokenizers, instead of leaving out their ends.

    Raises:
        UserError: if no text has a token.
    """
    has_parts = in_parts and tokenizer.is_fast
    options = {"truncation": True, "max_length": longest, "return_overflowing_tokens": has_parts}
    encoded = [ids for text in texts for ids in tokenizer([text], **options)["input_ids"]]
    encoded = [ids for ids in encoded if ids]
    if not encoded:
        raise UserError("the calibration texts have no tokens: give a file with a text a line")
    return encoded


def longest_text(model: PreTrainedModel) -> int:
    """Tokens of a text that a model reads: LONGEST, or its positions if it has fewer."""
    positions = getattr(model.config, "max_position_embeddings", None) or LONGEST
    # RoBERTa's positions begin after the padding id.
    return min(LONGEST, positions - 2)


def group_texts(lengths: list[int], choices: int) -> Iterator[list[int]]:
    """Positions of texts of similar length, which together have few tokens.

    The choices of a question stay together.
    """
    longest = [max(lengths[i : i + choices]) for i in range(0, len(lengths), choices)]
    order = sorted(range(len(longest)), key=longest.__getitem__)
    while order:
        size = max(1, TOKENS_A_BATCH // (choices * longest[order[-1]]))
        yield [choices * i + choice for i in order[-size:] for choice in range(choices)]
        order = order[:-size]


def make_batch(
    model: PreTrainedModel,
    texts: list[list[int]],
    types: list[list[int]] | None,
    choices: int,
    mask_id: int | None,
    generator: torch.Generator,
) -> TextBatch:
    """A batch of token ids, some of them masked for a masked language model.

    Those of multiple choice are (questions, choices, T).
    """
    ids, mask = _padded(texts, getattr(model.config, "pad_token_id", None) or 0)
    inputs = {"input_ids": ids, "attention_mask": mask.long()}
    if types is not None:
        inputs["token_type_ids"], _ = _padded(types, 0)
    if choices > 1:
        inputs = {name: values.unflatten(0, (-1, choices)) for name, values in inputs.items()}
    if not type(model).__name__.endswith("ForMaskedLM") or mask_id is None:
        return TextBatch(inputs, mask, mask)
    is_masked = (torch.rand(ids.shape, generator=generator) < MASKED) & mask
    inputs["input_ids"] = ids.masked_fill(is_masked, mask_id)
    return TextBatch(inputs, mask, is_masked)


def _padded(texts: list[list[int]], filler: int) -> tuple[Tensor, Tensor]:
    """Integers of texts (B, T) and where they are no filler."""
    ids = torch.full((len(texts), max(map(len, texts))), filler)
    mask = torch.zeros_like(ids, dtype=torch.bool)
    for i, text in enumerate(texts):
        ids[i, : len(text)] = torch.tensor(text)
        mask[i, : len(text)] = True
    return ids, mask


def run_batch(model: PreTrainedModel, inputs: dict[str, Tensor]) -> Any:
    """The model's output for a batch.

    Texts whose questions are unknown are choices of one question.
    """
    is_choice = type(model).__name__.endswith("ForMultipleChoice")
    if is_choice and inputs["input_ids"].ndim == 2:
        inputs = {name: value[None] for name, value in inputs.items()}
    if model.config.is_encoder_decoder and "Encoder" not in type(model).__name__:
        inputs = inputs | {"decoder_input_ids": inputs["input_ids"]}
    if getattr(model.config, "use_cache", False):
        return model(**inputs, use_cache=False)
    return model(**inputs)


def token_rows(x: Tensor, mask: Tensor) -> Tensor:
    """Inputs of a layer at the tokens of a batch: (B, T, d) or another shape to (n, d).

    Args:
        x: the inputs. Those that are not one for each token, as of a pooled text, are all taken.
        mask: bool (B, T), where texts have tokens.
    """
    is_by_token = x.ndim > mask.ndim and x.shape[:2] == mask.shape
    return x[mask] if is_by_token else x.flatten(0, -2)
