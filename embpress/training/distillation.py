"""KroneckerBERT's distillation loss (Tahaei et al., NAACL 2022, section 3.4): a compressed student
imitates its teacher.

    L = MSE(E^S, E^T) + sum_l MSE(O_l^S, O_l^T) + sum_l MSE(H_l^S, H_l^T) + L_logits + L_task

E are the outputs of the embedding layer, O_l a layer's attention scores QK^T / sqrt(d_k) before the
softmax, H_l its output. Student and teacher have layers of the same sizes, so that nothing is
projected.

What the paper leaves open: L_logits is the Kullback-Leibler divergence at temperature 1 (of a
number, the squared error), as each kind of task defines it; padding counts nowhere; the student runs without dropout, as its
teacher does.
"""

from collections.abc import Callable, Collection

import torch
from torch import Tensor, nn
from transformers import PreTrainedModel
from transformers.modeling_outputs import ModelOutput

from ..errors import UserError
from ..tasks._losses import kl_divergence
from .loop import Batch

LogitsLoss = Callable[[ModelOutput, ModelOutput, Batch], Tensor]
"""L_logits of the outputs of student and teacher on a batch, a mean over its predictions."""

PROJECTIONS = (("query", "key"), ("q_lin", "k_lin"))
"""How layers call the projections to queries and keys: BERT and its kin, and DistilBERT."""


class AttentionScores:
    """Attention scores of every layer of a model's last forward pass, seen by hooks.

    Raises:
        UserError: if the model has no such projections, one pair a layer.
    """

    def __init__(self, model: PreTrainedModel) -> None:
        self.heads = getattr(model.config, "num_attention_heads", 0)
        self.seen: dict[nn.Module, Tensor] = {}
        modules = dict(model.named_modules())
        self.pairs = [
            (module, modules[name.removesuffix(query) + key])
            for name, module in modules.items()
            for query, key in PROJECTIONS
            if name.rpartition(".")[2] == query and name.removesuffix(query) + key in modules
        ]
        if not self.pairs or len(self.pairs) != getattr(model.config, "num_hidden_layers", 0):
            raise UserError(
                f"attention scores are read of BERT, RoBERTa, DistilBERT and their kin, not of {type(model).__name__}: "
                "leave `attention` out of `terms`"
            )
        for module in (m for pair in self.pairs for m in pair):
            module.register_forward_hook(self._see)

    def _see(self, module: nn.Module, inputs: tuple[Tensor, ...], output: Tensor) -> None:
        self.seen[module] = output

    def take(self) -> list[Tensor]:
        """A layer's (B, heads, T, T) each, first layer first; they are forgotten then."""
        found = []
        for pair in self.pairs:
            query, key = (
                self.seen[m].unflatten(-1, (self.heads, -1)).transpose(1, 2).float() for m in pair
            )
            found.append(query @ key.transpose(2, 3) / query.shape[-1] ** 0.5)
        self.seen.clear()
        return found


class Distillation:
    """The loss of a student's batch by term; see the module.

    Args:
        student: what is trained.
        teacher: an uncompressed model of the same head.
        terms: which to add up, among embeddings, attention, hidden, logits and task.
        logits_loss: L_logits of the task's head; by default that of logits (B, C).

    Raises:
        UserError: if `attention` is asked of a model whose scores cannot be read.
    """

    def __init__(
        self,
        student: PreTrainedModel,
        teacher: PreTrainedModel,
        terms: Collection[str],
        logits_loss: LogitsLoss | None = None,
    ) -> None:
        self.teacher = teacher.eval().requires_grad_(False)
        self.terms = set(terms)
        self.logits_loss = logits_loss or _classifier_loss
        self.scores = (
            [AttentionScores(model) for model in (student, teacher)]
            if "attention" in self.terms
            else []
        )

    def __call__(self, model: nn.Module, batch: Batch) -> dict[str, Tensor]:
        """The terms, in the order of the formula."""
        mask = batch["attention_mask"].flatten(0, -2).bool()
        states = bool(self.terms & {"embeddings", "hidden"})
        ours = model(**batch, output_hidden_states=states)
        found: dict[str, Tensor] = {}
        if self.terms - {"task"}:
            inputs = {name: values for name, values in batch.items() if name != "labels"}
            with torch.no_grad():
                theirs = self.teacher.to(mask.device)(**inputs, output_hidden_states=states)
            if "embeddings" in self.terms:
                found["embeddings"] = masked_mse(
                    ours.hidden_states[0], theirs.hidden_states[0], mask
                )
            if "attention" in self.terms:
                pairs = mask[:, None, :, None] & mask[:, None, None, :]
                layers = zip(*(scores.take() for scores in self.scores))
                found["attention"] = _sum(
                    masked_mse(s[..., None], t[..., None], pairs.expand_as(s)) for s, t in layers
                )
            if "hidden" in self.terms:
                layers = zip(ours.hidden_states[1:], theirs.hidden_states[1:])
                found["hidden"] = _sum(masked_mse(s, t, mask) for s, t in layers)
            if "logits" in self.terms:
                found["logits"] = self.logits_loss(ours, theirs, batch)
        if "task" in self.terms:
            found["task"] = ours.loss
        return found


def masked_mse(student: Tensor, teacher: Tensor, mask: Tensor) -> Tensor:
    """Mean squared error of vectors (..., d) where the mask (...) is set."""
    squares = (student.float() - teacher.float()).square().mean(-1)
    return squares[mask].mean()


def _classifier_loss(student: ModelOutput, teacher: ModelOutput, batch: Batch) -> Tensor:
    """L_logits of a head with one prediction a row."""
    return kl_divergence(student["logits"], teacher["logits"])


def _sum(values: object) -> Tensor:
    """Of a term over the layers."""
    return torch.stack(list(values)).sum()  # type: ignore[call-overload]
