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

    predicted = logits.argmax(1)
    outcomes = {
        "predicted": predicted.numpy().astype(np.int16),
        "label": np.array(labels, dtype=np.int16),
    }
    if reference is None:
        return outcomes | {LOGITS: logits.float().numpy()}
    of_reference = torch.from_numpy(reference[LOGITS])
    divergences = torch.nn.functional.kl_div(
        logits.double().log_softmax(1),
        of_reference.double().log_softmax(1),
        reduction="none",
        log_target=True,
    )
    agreements = predicted == of_reference.argmax(1)
    return outcomes | {
        "kl_divergence": divergences.sum(1).float().numpy(),
        "top1_agreement": agreements.float().numpy(),
    }
