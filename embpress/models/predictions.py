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


def sampled_log_probability(output: Any, mask: Tensor, generator: torch.Generator) -> Tensor:
    """Sum over texts of the log-probability of labels drawn from the model's predictions."""
    softmaxes = predicted_softmaxes(output, mask)
    if softmaxes:
        return torch.stack([_log_probability(logits, generator) for logits in softmaxes]).sum()
    return _gaussian(predicted_values(output, mask), generator)


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


def _log_probability(logits: Tensor, generator: torch.Generator) -> Tensor:
    """Sum of the log-probabilities of labels drawn from logits (..., C)."""
    logs = logits.flatten(0, -2).log_softmax(-1)
    drawn = torch.multinomial(logs.detach().exp(), 1, generator=generator)
    return logs.gather(1, drawn).sum()


def _gaussian(values: Tensor, generator: torch.Generator) -> Tensor:
    """Log-density of values drawn about the outputs, but for constants."""
    return (values * torch.randn(values.shape, generator=generator)).sum()
