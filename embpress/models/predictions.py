"""What the output of a model predicts: softmaxes of labels, or values.

The module `calibration` says which labels each kind of model has.
"""

from typing import Any

import torch
from torch import Tensor

LEAST_LOGIT = -1e4
"""Logit of a place without a token: its probability is 0 in float32, without infinities."""
LABEL_AXES = 2
"""Axes of the logits of one label a text."""


def fisher_projection(output: Any, mask: Tensor, generator: torch.Generator) -> Tensor:
    """Number whose gradients have the Fisher information as their second moment.

    It is the sum of r^T logits over all predictions, where r is random with the second moment
    diag(p) - p p^T of a softmax p, or I of other outputs. Gradients of the log-probability of a
    drawn label have the same second moment with far more variance: where p is close to 1, they are
    nearly 0 for most labels, and large for the few others.
    """
    softmaxes = predicted_softmaxes(output, mask)
    if softmaxes:
        return torch.stack([_softmax_projection(logits, generator) for logits in softmaxes]).sum()
    values = predicted_values(output, mask)
    return (values * _random_signs(values, generator)).sum()


def predicted_softmaxes(output: Any, mask: Tensor) -> list[Tensor]:
    """Logits (..., C) of each softmax of an output; none of regressions and bare encoders.

    Args:
        output: of a model.
        mask: bool (B, T), tokens whose labels are predicted, if each token has one.
    """
    if hasattr(output, "start_logits"):
        spans = (output.start_logits, output.end_logits)
        return [logits.masked_fill(~mask, LEAST_LOGIT) for logits in spans]
    if _is_discriminator(output):
        logits = output.logits[mask]
        return [torch.stack([torch.zeros_like(logits), logits], -1)]
    logits = softmax_logits(output)
    if logits is None:
        return []
    return [logits[mask] if _is_of_tokens(logits, mask) else logits]


def predicted_values(output: Any, mask: Tensor) -> Tensor:
    """Numbers that a regression or a bare encoder predicts, without those of padded places."""
    if "logits" not in output:
        values: Tensor = output.last_hidden_state
        return values[mask] if values.shape[:2] == mask.shape else values
    return output.logits[mask] if _is_of_tokens(output.logits, mask) else output.logits


def _is_discriminator(output: Any) -> bool:
    """Whether each token has one logit, of being replaced; (B, T) may be (B, C) of a classifier."""
    name = type(output).__name__
    return name.endswith("ForPreTrainingOutput") and "logits" in output


def _is_of_tokens(logits: Tensor, mask: Tensor) -> bool:
    """Whether logits (B, T, C) are of tokens, not (B, C) of texts."""
    return logits.ndim > LABEL_AXES and logits.shape[:2] == mask.shape


def softmax_logits(output: Any) -> Tensor | None:
    """Logits of labels that exclude each other; None of other outputs."""
    logits: Tensor | None = getattr(output, "logits", None)
    if logits is None or logits.shape[-1] == 1 or _is_discriminator(output):
        return None
    return logits


def _softmax_projection(logits: Tensor, generator: torch.Generator) -> Tensor:
    """Sum of r^T logits over softmaxes p (..., C).

    r = (diag(sqrt(p)) - p sqrt(p)^T) z with random signs z. This square root of diag(p) - p p^T is
    that of BackPACK (Dangel et al., ICLR 2020).
    """
    p = logits.detach().softmax(-1)
    signed = p.sqrt() * _random_signs(p, generator)
    return (logits * (signed - p * signed.sum(-1, keepdim=True))).sum()


def _random_signs(like: Tensor, generator: torch.Generator) -> Tensor:
    """Independent 1 and -1 with equal probability, of the shape of a tensor."""
    return torch.randint(2, like.shape, generator=generator).to(like.dtype).mul_(2).sub_(1)
