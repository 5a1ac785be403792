"""Run a model over texts of very different lengths in batches with little padding."""

from collections.abc import Callable, Iterator
from typing import Any

import torch
from torch import Tensor
from transformers import PreTrainedModel, PreTrainedTokenizerBase

from ._examples import Examples

TOKENS_A_BATCH = 2048


def batches(lengths: list[int]) -> Iterator[list[int]]:
    """Positions of texts in batches of similar length, longest first, of at most TOKENS_A_BATCH
    tokens with padding.
    """
    order = sorted(range(len(lengths)), key=lambda i: -lengths[i])
    start = 0
    while start < len(order):
        size = max(1, TOKENS_A_BATCH // lengths[order[start]])
        yield order[start : start + size]
        start += size


def padded_batches(
    encoded: dict[str, list[Any]], tokenizer: Any, progress: Callable[[str], None]
) -> Iterator[tuple[list[int], dict[str, Tensor]]]:
    """Tokenized texts in batches of similar length, longest first: their positions, and the model's
    inputs, (B, T) each.
    """
    done = 0
    n = len(encoded["input_ids"])
    for group in batches([len(ids) for ids in encoded["input_ids"]]):
        yield (
            group,
            dict(
                tokenizer.pad(
                    {k: [v[i] for i in group] for k, v in encoded.items()}, return_tensors="pt"
                )
            ),
        )
        done += len(group)
        progress(f"{done}/{n} texts")


def run_batches(
    texts: list[str],
    tokenizer: PreTrainedTokenizerBase,
    max_length: int,
    forward: Callable[[dict[str, Tensor]], Tensor],
    progress: Callable[[str], None],
    seconds: list[str] | None = None,
) -> Tensor:
    """Apply `forward` to tokenized batches of texts.

    Args:
        texts: first or only texts.
        tokenizer: the model's.
        max_length: tokens of a text or pair; the longer text of a longer pair is cut.
        forward: the model's inputs (B, T) to rows (B, k).
        progress: called with a line about every batch.
        seconds: second texts of pairs.

    Returns:
        Rows (n, k) in the order of the texts.
    """
    encoded = tokenizer(texts, seconds, truncation=True, max_length=max_length)
    with torch.inference_mode():
        parts = [
            (group, forward(batch))
            for group, batch in padded_batches(dict(encoded), tokenizer, progress)
        ]
    result = torch.empty(len(texts), parts[0][1].shape[1])
    for group, rows in parts:
        result[group] = rows
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

    return run_batches(examples.texts, tokenizer, max_length, forward, progress, examples.seconds)


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
    """

    def forward(batch: dict[str, Tensor]) -> Tensor:
        hidden = model(
            input_ids=batch["input_ids"], attention_mask=batch["attention_mask"]
        ).last_hidden_state
        mask = batch["attention_mask"][..., None].to(hidden.dtype)
        return torch.nn.functional.normalize((hidden * mask).sum(1) / mask.sum(1), dim=-1)

    return run_batches(texts, tokenizer, max_length, forward, progress)
