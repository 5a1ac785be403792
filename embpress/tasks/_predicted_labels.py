"""Predictions of one label an example, alone and beside those of the uncompressed model."""

from __future__ import annotations

from typing import TYPE_CHECKING

from ..study.task_entry import Metric
from ._base import Outcomes

if TYPE_CHECKING:
    from torch import Tensor

LOGITS = "logits"
COMPARISONS = (
    Metric("kl_divergence", "KL divergence, nats", False, False, of_itself=0.0),
    Metric("top1_agreement", "top-1 agreement", of_itself=1.0),
)
"""Metrics of predictions beside those of the uncompressed model."""


def label_outcomes(logits: Tensor, labels: list[float], reference: Outcomes | None) -> Outcomes:
    """Outcomes of a task whose examples have one label each.

    Args:
        logits: (n, C).
        labels: positions of the n true labels.
        reference: outcomes of the uncompressed model, if any.

    Returns:
        `predicted` and `label`, positions (n,). With a reference also (n,) of each of COMPARISONS,
        KL(uncompressed || model) in nats and 1 where both predict the same label; without one also
        LOGITS (n, C).
    """
    import numpy as np
    import torch

    from ._predictions import compare_predictions

    outcomes = {
        "predicted": logits.argmax(1).numpy().astype(np.int16),
        "label": np.array(labels, dtype=np.int16),
    }
    if reference is None:
        return outcomes | {LOGITS: logits.float().numpy()}
    # In float64, as near models differ in the last digits of float32.
    own, of_reference = logits.double(), torch.from_numpy(reference[LOGITS]).double()
    targets = torch.tensor(labels, dtype=torch.int64)
    losses = torch.nn.functional.cross_entropy(own, targets, reduction="none")
    pair = compare_predictions(own, of_reference, losses, targets)
    names = (metric.name for metric in COMPARISONS)
    return outcomes | {name: values.float().numpy() for name, values in zip(names, pair)}
