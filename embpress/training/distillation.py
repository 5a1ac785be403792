"""KroneckerBERT's distillation loss (Tahaei et al., NAACL 2022, section 3.4): a compressed student
imitates its teacher.

    L = MSE(E^S, E^T) + sum_l MSE(O_l^S, O_l^T) + sum_l MSE(H_l^S, H_l^T) + L_logits + L_task

E are the outputs of the embedding layer, O_l a layer's attention scores QK^T / sqrt(d_k) before the
softmax, H_l its output. Student and teacher have layers of the same sizes, so that nothing is
projected.

What the paper leaves open: L_logits is the Kullback-Leibler divergence at temperature 1 (of a
single output, the squared error); padding counts nowhere; the student runs without dropout, as its
teacher does.
"""

from collections.abc import Collection

import torch
from torch import Tensor, nn
from torch.nn import functional
from transformers import PreTrainedModel

from ..errors import UserError
from .loop import Batch

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

    Raises:
        UserError: if `attention` is asked of a model whose scores cannot be read.
    """

    def __init__(
        self, student: PreTrainedModel, teacher: PreTrainedModel, terms: Collection[str]
    ) -> None:
        self.teacher = teacher.eval().requires_grad_(False)
        self.terms = set(terms)
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
                found["logits"] = _sum(
                    logits_loss(s, t) for s, t in zip(_logits(ours), _logits(theirs))
                )
        if "task" in self.terms:
            found["task"] = ours.loss
        return found


def masked_mse(student: Tensor, teacher: Tensor, mask: Tensor) -> Tensor:
    """Mean squared error of vectors (..., d) where the mask (...) is set."""
    squares = (student.float() - teacher.float()).square().mean(-1)
    return squares[mask].mean()


def logits_loss(student: Tensor, teacher: Tensor) -> Tensor:
    """KL(teacher || student) of (B, C) logits, a mean over the batch.

    The mean squared error of (B, 1) numbers.
    """
    if student.shape[-1] == 1:
        return functional.mse_loss(student.float(), teacher.float())
    ours, theirs = (functional.log_softmax(logits.float(), dim=-1) for logits in (student, teacher))
    return functional.kl_div(ours, theirs, reduction="batchmean", log_target=True)


def _logits(output: object) -> list[Tensor]:
    """A head's logits; of a span's two ends, both."""
    names = [
        name
        for name in ("logits", "start_logits", "end_logits")
        if getattr(output, name, None) is not None
    ]
    return [getattr(output, name) for name in names]


def _sum(values: object) -> Tensor:
    """Of a term over the layers."""
    return torch.stack(list(values)).sum()  # type: ignore[call-overload]
