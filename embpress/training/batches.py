"""Training rows, batches of them, and the number of predictions that a term of a loss averages."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
from torch import Tensor, nn

HELD_OUT_SHARE = 0.1
"""Share of the training rows that early stopping holds out."""
IGNORED_LABEL = -100
"""Label of positions that do not count in a loss, as in transformers."""

Row = dict[str, Any]
"""A tokenized training example: model inputs (lists of token ids etc.) and labels by name."""
Batch = dict[str, Tensor]
"""Model inputs and labels by name, (B, ...) each."""
Collate = Callable[[list[Row]], Batch]
Loss = Callable[[nn.Module, Batch], dict[str, Tensor]]
"""Terms of a batch's loss by name, each a mean over `count_predictions` of the batch; their sum is
minimized."""


@dataclass(frozen=True)
class TrainingData:
    """Training rows and the function that makes a batch of some of them."""

    rows: list[Row]
    """Rows with `input_ids`; batches contain rows of similar length."""
    collate: Collate
    """May draw random numbers from torch's global generator, which is seeded at each batch."""


def count_predictions(term: str, batch: Batch) -> int:
    """Number of predictions of a batch over which a term of its loss is a mean.

    Args:
        term: a term of the distillation loss, or `task`: `embeddings` and `hidden` compare states
            of tokens, `attention` pairs of tokens; the others are of labels that are not ignored,
            or of rows.
        batch: of any number of rows.
    """
    if term in ("embeddings", "hidden"):
        return int(batch["attention_mask"].sum())
    if term == "attention":
        return int(batch["attention_mask"].sum(-1).square().sum())
    labels = batch.get("labels")
    if labels is None or labels.is_floating_point():  # of a span, or numbers
        return len(next(iter(batch.values())))
    return int((labels != IGNORED_LABEL).sum())


def count_tokens(row: Row) -> int:
    """Number of tokens of a row; with several texts (multiple choice), of the longest."""
    ids = row["input_ids"]
    return max(map(len, ids)) if isinstance(ids[0], list) else len(ids)


def split_validation(rows: list[Row], seed: int) -> tuple[list[Row], list[Row]]:
    """Split rows at random into training rows and a share HELD_OUT_SHARE of validation rows."""
    order = np.random.default_rng(seed).permutation(len(rows)).tolist()
    n_held_out = max(1, round(len(rows) * HELD_OUT_SHARE))
    train = [rows[i] for i in sorted(order[n_held_out:])]
    held_out = [rows[i] for i in sorted(order[:n_held_out])]
    return train, held_out
