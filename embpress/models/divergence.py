"""Divergence of a model from itself with other weights, on a few calibration texts."""

from collections.abc import Sequence
from typing import Any, NamedTuple

import torch
from torch import Tensor
from transformers import PreTrainedModel

from .calibration_texts import TextBatch, run_batch
from .predictions import predicted_softmaxes, predicted_values


class Change(NamedTuple):
    """Other values of one weight of a model."""

    weight: Tensor
    """A weight of the model."""
    values: Tensor
    """Of its shape."""


def measure_divergences(
    model: PreTrainedModel, batches: list[TextBatch], changes: Sequence[Change]
) -> list[float]:
    """Mean divergence of the model's predictions from the present ones, for each change alone.

    Kullback-Leibler divergence of the labels that `calibration` draws: of softmax outputs at each
    predicted position, else half the squared difference of the outputs, summed over a text.

    Args:
        model: a float32 model, which is as before afterwards.
        batches: texts.
        changes: weights to change, one at a time.

    Returns:
        Nats a text, of each change.
    """
    totals = [0.0] * len(changes)
    with torch.no_grad():
        for batch in batches:
            before = run_batch(model, dict(batch.inputs))
            for i, (weight, values) in enumerate(changes):
                present = weight.data
                try:
                    weight.data = values
                    after = run_batch(model, dict(batch.inputs))
                finally:
                    weight.data = present
                totals[i] += _divergence(before, after, batch)
    n_texts = sum(len(batch.mask) for batch in batches)
    return [total / n_texts for total in totals]


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
