"""Distillation loss of KroneckerBERT (Tahaei et al., NAACL 2022, section 3.4).

    L = MSE(E^S, E^T) + sum_l MSE(O_l^S, O_l^T) + sum_l MSE(H_l^S, H_l^T) + L_logits + L_task

S is the compressed student, T its uncompressed teacher. E is the output of the embedding layer, O_l
the attention scores QK^T / sqrt(d_k) of layer l before the softmax, H_l its output. Student and
teacher have the same hidden sizes, so there are no projections between them.

Choices that the paper leaves open: L_logits is the Kullback-Leibler divergence at temperature 1
(for a number, the squared error), as each kind of task defines it; padding is masked out of all
terms; the student runs without dropout, as its teacher does, also where L_task is the only term.
"""

from collections.abc import Callable, Collection, Iterable

import torch
from torch import Tensor, nn
from torch.nn import functional
from transformers import PreTrainedModel
from transformers.modeling_outputs import BaseModelOutput, ModelOutput

from ..errors import UserError
from ..tasks._losses import kl_divergence
from .batches import Batch

LogitsLoss = Callable[[ModelOutput, ModelOutput, Batch], Tensor]
"""L_logits of the outputs of student and teacher on a batch, a mean over its predictions."""

PROJECTIONS = (("query", "key"), ("q_lin", "k_lin"))
"""Names of the query and key projections: in BERT and models derived from it, in DistilBERT."""


class AttentionScores:
    """Attention scores of every layer of a model, computed from outputs recorded by forward hooks.

    Raises:
        UserError: if the model does not have one pair of query and key projections per layer.
    """

    def __init__(self, model: PreTrainedModel) -> None:
        self.n_heads = getattr(model.config, "num_attention_heads", 0)
        self.outputs: dict[nn.Module, Tensor] = {}
        modules = dict(model.named_modules())
        self.projections = [
            (module, modules[name.removesuffix(query) + key])
            for name, module in modules.items()
            for query, key in PROJECTIONS
            if name.rpartition(".")[2] == query and name.removesuffix(query) + key in modules
        ]
        n_layers = getattr(model.config, "num_hidden_layers", 0)
        if not self.projections or len(self.projections) != n_layers:
            raise UserError(
                f"cannot read the attention scores of {type(model).__name__}, only those of BERT, "
                "RoBERTa, DistilBERT and models with the same layers: remove `attention` from "
                "`terms`"
            )
        for pair in self.projections:
            for module in pair:
                module.register_forward_hook(self._record_output)

    def _record_output(self, module: nn.Module, inputs: tuple[Tensor, ...], output: Tensor) -> None:
        """Forward hook of a projection."""
        self.outputs[module] = output

    def _split_heads(self, output: Tensor) -> Tensor:
        """Output (B, T, d) of a projection to (B, heads, T, d / heads) in float32."""
        by_head = output.unflatten(-1, (self.n_heads, -1))
        return by_head.transpose(1, 2).float()

    def compute(self, mask: Tensor) -> list[Tensor]:
        """Scores (B, heads, T, T) of each layer in the last forward pass, whose recorded outputs
        are cleared.

        Args:
            mask: (B, T), 0 at padding, whose scores are 0.
        """
        scores = []
        for pair in self.projections:
            query, key = (self._split_heads(self.outputs[m] * mask[..., None]) for m in pair)
            scores.append((query @ key.transpose(2, 3)).float() / query.shape[-1] ** 0.5)
        self.outputs.clear()
        return scores


class Distillation:
    """Terms of the distillation loss of a batch, see the module's docstring.

    Args:
        student: the model that is trained.
        teacher: an uncompressed model with the same head.
        terms: which terms to use: embeddings, attention, hidden, logits, task.
        logits_loss: L_logits of the task; the default is the loss of logits (B, C).

    Raises:
        UserError: if `attention` is used and the attention scores of a model cannot be read.
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
        self.scores: list[AttentionScores] = []
        if "attention" in self.terms:
            self.scores = [AttentionScores(model) for model in (student, teacher)]

    def __call__(self, model: nn.Module, batch: Batch) -> dict[str, Tensor]:
        """Each term as a scalar by its name, in the order of the formula."""
        needs_states = bool(self.terms & {"embeddings", "hidden"})
        student = model(**batch, output_hidden_states=needs_states)
        terms: dict[str, Tensor] = {}
        if self.terms - {"task"}:
            inputs = {name: values for name, values in batch.items() if name != "labels"}
            device = batch["attention_mask"].device
            # Without its head where that is not compared: a language model's is as wide as the
            # vocabulary.
            compared = self.teacher if "logits" in self.terms else self.teacher.base_model
            with torch.no_grad():
                teacher = compared.to(device)(**inputs, output_hidden_states=needs_states)
            terms = self._compare(student, teacher, batch)
        if "task" in self.terms:
            terms["task"] = student.loss
        return terms

    def _compare(
        self, student: BaseModelOutput, teacher: BaseModelOutput, batch: Batch
    ) -> dict[str, Tensor]:
        """Terms that compare outputs of the student and the teacher on a batch."""
        mask = batch["attention_mask"].flatten(0, -2).float()  # (B, T), 0 at padding
        terms: dict[str, Tensor] = {}
        states = list(zip(student.hidden_states or (), teacher.hidden_states or ()))
        if "embeddings" in self.terms:
            terms["embeddings"] = masked_mse(*states[0], mask)
        if "attention" in self.terms:
            n_scores = mask.sum(-1).square().sum() * self.scores[0].n_heads
            layers = zip(*(scores.compute(mask) for scores in self.scores))
            errors = [functional.mse_loss(s, t, reduction="sum") for s, t in layers]
            terms["attention"] = _sum(errors) / n_scores
        if "hidden" in self.terms:
            terms["hidden"] = _sum(masked_mse(s, t, mask) for s, t in states[1:])
        if "logits" in self.terms:
            terms["logits"] = self.logits_loss(student, teacher, batch)
        return terms


def masked_mse(student: Tensor, teacher: Tensor, mask: Tensor) -> Tensor:
    """Mean squared error of vectors (B, T, d) over the positions where the mask (B, T) is 1, not 0.

    Multiplying by the mask is cheaper than selecting positions, whose gradients would be scattered.
    """
    weights = mask[..., None]
    ours, theirs = student.float() * weights, teacher.float() * weights
    total = functional.mse_loss(ours, theirs, reduction="sum")
    return total / (mask.sum() * student.shape[-1])


def _classifier_loss(student: ModelOutput, teacher: ModelOutput, batch: Batch) -> Tensor:
    """L_logits of a head with one prediction a row."""
    return kl_divergence(student["logits"], teacher["logits"])


def _sum(values: Iterable[Tensor]) -> Tensor:
    """Sum of scalars, one per layer or output."""
    return torch.stack(list(values)).sum()
