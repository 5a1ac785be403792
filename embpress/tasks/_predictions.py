"""Predictions of tokens or labels beside those of the uncompressed model."""

import torch
from torch import Tensor, nn
from torch.nn import functional
from transformers import PreTrainedModel

TOKENS_AT_ONCE = 256
"""Tokens whose logits (tokens, V) of both models are compared together."""


class HeadInputs:
    """What enters the output head of a model, recorded by a forward hook.

    Args:
        model: a causal language model.

    Raises:
        AttributeError: if it has no output head.
    """

    def __init__(self, model: PreTrainedModel) -> None:
        self.head: nn.Module = model.get_output_embeddings()
        self.inputs: Tensor | None = None
        self._hook = self.head.register_forward_pre_hook(self._record)

    def _record(self, module: nn.Module, inputs: tuple[Tensor, ...]) -> None:
        """Forward hook of the head."""
        self.inputs = inputs[0]

    def take(self, logits: Tensor) -> Tensor | None:
        """The inputs (B, T, d) of the last forward pass; None where the model changes what the head
        returns, as by a soft cap.

        Args:
            logits: (B, T, V) of that pass.
        """
        inputs = self.inputs
        if inputs is None:
            return None
        of_head = self.head(inputs[:1])
        is_plain = torch.allclose(of_head, logits[:1], rtol=1e-3, atol=1e-3)
        return inputs.float() if is_plain else None

    def remove(self) -> None:
        """Stop recording."""
        self._hook.remove()


def compare_predictions(
    logits: Tensor, reference: Tensor, losses: Tensor, targets: Tensor
) -> tuple[Tensor, Tensor]:
    """Kullback-Leibler divergence KL(reference || model) in nats, and whether both models hold the
    same token or label for the likeliest, (n,) each.

    Args:
        logits: (n, V) of the model.
        reference: (n, V) logits of the uncompressed model.
        losses: (n,) cross entropy of the targets under `logits`.
        targets: (n,) token ids, or positions of labels.
    """
    log_normalizer = losses + logits.gather(1, targets[:, None])[:, 0]
    highest, likeliest = reference.max(1)
    weights = (reference - highest[:, None]).exp_()
    total = weights.sum(1)
    # sum p (log p - log q) = sum p (reference - logits) - log Z of the reference + log Z of q
    difference = torch.einsum("nv,nv->n", weights, reference - logits) / total
    divergence = difference - highest - total.log() + log_normalizer
    return divergence.clamp_min(0), likeliest == logits.argmax(1)


class ReferenceHead:
    """Logits of the uncompressed model, from stored inputs of its output head.

    The inputs (n, d) are a hundredth of the logits (n, V).

    Args:
        model: the uncompressed model, whose head is kept.
        inputs: (n, d) of its predictions in their order.
    """

    def __init__(self, model: PreTrainedModel, inputs: Tensor) -> None:
        head = model.get_output_embeddings()
        self.weight = head.weight.detach()
        self.bias = None if head.bias is None else head.bias.detach()
        self.inputs = inputs

    def compare(self, first: int, logits: Tensor, losses: Tensor, targets: Tensor) -> Tensor:
        """Divergence and agreement, (2, n), of n predictions from the position `first` on.

        Other arguments as for `compare_predictions`.
        """
        parts = []
        for start in range(0, len(logits), TOKENS_AT_ONCE):
            here = slice(start, start + TOKENS_AT_ONCE)
            stored = self.inputs[first + start : first + start + len(logits[here])]
            reference = functional.linear(stored.to(self.weight), self.weight, self.bias).float()
            pair = compare_predictions(logits[here], reference, losses[here], targets[here])
            parts.append(torch.stack([values.float() for values in pair]))
        return torch.cat(parts, 1)
