"""Run a model over texts of very different lengths in batches with little padding.

Batches move to the model's device. Results are float32 on the CPU, whatever the model's are.
"""

from collections.abc import Callable, Iterator, Mapping
from typing import Any

import torch
from torch import Tensor
from transformers import PreTrainedModel, PreTrainedTokenizerBase

from ..models.positions import max_positions
from ._examples import Examples

TOKENS_A_BATCH = 2048
"""Tokens of a batch on the CPU, with padding."""
TOKENS_A_GPU_BATCH = 16_384
"""Tokens of a batch on a GPU, which a small batch does not keep busy."""


def batches(lengths: list[int], n_tokens: int = TOKENS_A_BATCH) -> Iterator[list[int]]:
    """Positions of texts in batches of similar length, longest first, of at most `n_tokens` tokens
    with padding.
    """
    order = sorted(range(len(lengths)), key=lambda i: -lengths[i])
    start = 0
    while start < len(order):
        size = max(1, n_tokens // lengths[order[start]])
        yield order[start : start + size]
        start += size


def padded_batches(
    encoded: Mapping[str, list[Any]],
    tokenizer: Any,
    device: torch.device,
    progress: Callable[[str], None],
) -> Iterator[tuple[list[int], dict[str, Tensor]]]:
    """Tokenized texts in batches of similar length, longest first: their positions, and the model's
    inputs on its device, (B, T) each.
    """
    done = 0
    n = len(encoded["input_ids"])
    lengths = [len(ids) for ids in encoded["input_ids"]]
    n_tokens = TOKENS_A_BATCH if device.type == "cpu" else TOKENS_A_GPU_BATCH
    for group in batches(lengths, n_tokens):
        texts = {k: [v[i] for i in group] for k, v in encoded.items()}
        padded = tokenizer.pad(texts, return_tensors="pt")
        yield group, {name: values.to(device) for name, values in padded.items()}
        done += len(group)
        progress(f"{done}/{n} texts")


def run_batches(
    encoded: Mapping[str, list[Any]],
    tokenizer: PreTrainedTokenizerBase,
    device: torch.device,
    forward: Callable[[dict[str, Tensor]], Tensor],
    progress: Callable[[str], None],
) -> Tensor:
    """Apply `forward` to batches of tokenized texts.

    Args:
        encoded: the model's inputs by name, one a text.
        tokenizer: the model's.
        device: the model's.
        forward: the model's inputs (B, T) to rows (B, k), both on the device.
        progress: called with a line about every batch.

    Returns:
        Rows (n, k) in the order of the texts, float32 on the CPU.
    """
    with torch.inference_mode():
        parts = [
            (group, forward(batch))
            for group, batch in padded_batches(encoded, tokenizer, device, progress)
        ]
    result = torch.empty(len(encoded["input_ids"]), parts[0][1].shape[1])
    for group, rows in parts:  # not copied before, as a GPU would wait for the next batch
        result[group] = rows.float().cpu()
    return result


def predict_logits(
    model: PreTrainedModel,
    tokenizer: PreTrainedTokenizerBase,
    examples: Examples,
    max_length: int,
    progress: Callable[[str], None],
) -> Tensor:
    """Logits of a model's head for texts or pairs, (n, C)."""

    def forward(batch: dict[str, Tensor]) -> Tensor:
        return model(**batch).logits

    encoded = tokenizer(examples.texts, examples.seconds, truncation=True, max_length=max_length)
    return run_batches(encoded, tokenizer, model.device, forward, progress)


def encode_examples(
    examples: Examples, tokenizer: PreTrainedTokenizerBase, max_length: int
) -> list[dict[str, Any]]:
    """Tokenized examples with `labels`: token ids (T,) of a text or pair, or a list of them, one
    for each choice.
    """
    encoded = tokenizer(examples.texts, examples.seconds, truncation=True, max_length=max_length)
    n = examples.choices
    rows = []
    for i, label in enumerate(examples.labels):
        inputs = {k: v[i] if n == 1 else v[i * n : (i + 1) * n] for k, v in encoded.items()}
        rows.append({**inputs, "labels": label})
    return rows


def sentence_embeddings(
    model: PreTrainedModel,
    tokenizer: PreTrainedTokenizerBase,
    texts: list[str],
    progress: Callable[[str], None],
    max_length: int = 256,
) -> Tensor:
    """Means of the last hidden states, normalized to length 1, (n, d), as MiniLM and E5 define
    sentence embeddings.

    Texts are cut to `max_length` tokens, or to the model's positions if they are fewer.
    """

    def forward(batch: dict[str, Tensor]) -> Tensor:
        hidden = model(
            input_ids=batch["input_ids"], attention_mask=batch["attention_mask"]
        ).last_hidden_state.float()
        mask = batch["attention_mask"][..., None].to(hidden.dtype)
        return torch.nn.functional.normalize((hidden * mask).sum(1) / mask.sum(1), dim=-1)

    length = min(max_length, max_positions(model) or max_length)
    encoded = tokenizer(texts, truncation=True, max_length=length)
    return run_batches(encoded, tokenizer, model.device, forward, progress)
