"""Divergence of a model from itself with other weights, on a few calibration texts."""

from typing import Any

import torch
from torch import Tensor
from transformers import PreTrainedModel

from .calibration import TextBatch, run_batch
from .predictions import predicted_softmaxes, predicted_values


def measure_divergence(
    model: PreTrainedModel, batches: list[TextBatch], weight: Tensor, changed: Tensor
) -> float:
    """Mean divergence of the model's predictions from the present ones if a weight is changed.

    Kullback-Leibler divergence of the labels that `calibration` draws: of softmax outputs at each
    predicted position, else half the squared difference of the outputs, summed over a text.

    Args:
        model: a float32 model.
        batches: texts.
        weight: a weight of the model, which is as before afterwards.
        changed: other values, of its shape.

    Returns:
        Nats a text.
    """
    total = 0.0
    present = weight.data
    with torch.no_grad():
        for batch in batches:
            before = run_batch(model, dict(batch.inputs))
            try:
                weight.data = changed
                after = run_batch(model, dict(batch.inputs))
            finally:
                weight.data = present
            total += _divergence(before, after, batch)
    return total / sum(len(batch.mask) for batch in batches)


def _divergence(before: Any, after: Any, batch: TextBatch) -> float:
    """Divergence of the outputs of a batch, summed over texts."""
    softmaxes = [predicted_softmaxes(output, batch.labels) for output in (before, after)]
    if softmaxes[0]:
        return sum(map(_kullback_leibler, *softmaxes))
    values = [predicted_values(output, batch.mask) for output in (before, after)]
    difference = values[0] - values[1]
    return 0.5 * float(difference.square().sum())


def _kullback_leibler(before: Tensor, after: Tensor) -> float:
    """Sum of the divergences of softmax outputs (..., C)."""
    logs = before.log_softmax(-1)
    return float((logs.exp() * (logs - after.log_softmax(-1))).sum())
