"""Second moments of the inputs and output gradients of a model's layers on calibration texts.

They weight the errors of compressed weights (see `methods._layer_code`). The moments of gradients
are those of the Fisher information, whose labels are the model's own predictions, so that no labels
are needed:

- classifiers and token classifiers: the label;
- discriminators such as ELECTRA's: at every token, whether it was replaced;
- causal language models: the next token, at every position;
- masked language models: the token at each masked position; a share MASKED of all are masked;
- span heads: a start and an end;
- regressions, and models without a head: a Gaussian about the output, of variance 1.

Kept are moments, (d, d) and (n,) of each layer, and the token ids of the texts.
"""

from collections.abc import Callable
from dataclasses import dataclass, field

import torch
from torch import Tensor, nn
from torch.utils.hooks import RemovableHandle
from transformers import PreTrainedModel
from transformers.pytorch_utils import Conv1D

from ..methods._layer_code import Moments
from ..numerics.memory import malloc_trim
from .calibration_texts import (
    SINGLE_TEXTS,
    TOKENS_A_BATCH,
    TextBatch,
    TextLayout,
    group_texts,
    make_batch,
    run_batch,
    token_rows,
)
from .embedding import find_embedding
from .predictions import fisher_projection, softmax_logits

N_TEXTS = 256
"""Texts on which moments are taken."""
N_TOKENS = 1 << 15
"""Tokens of these texts, at most: the time of calibration is in proportion to them."""
CHECK_TOKENS = 2048
"""Tokens of texts on which the divergence of a changed model is measured."""
UNSEEN_USE = 0.1
"""Least use of a row of a position or type table, as a share of the most used row's."""
SHRINKAGE = 0.1
"""Strength with which second moments of few tokens are shrunk to a multiple of the identity."""


@dataclass
class _Sums:
    """Sums over tokens of one layer."""

    inputs: Tensor
    outputs: Tensor
    n_tokens: int = 0


@dataclass
class Calibration:
    """What calibration texts say about the layers of a model."""

    moments: dict[str, Moments] = field(default_factory=dict)
    """By name of the layer in the model. Of an embedding table the roles are exchanged: `inputs` is
    the (d, d) second moment of the gradient at its output, `outputs` the (V,) uses of each row in a
    text."""
    token_counts: Tensor = field(default_factory=lambda: torch.zeros(0))
    """(V,), of all given texts, also of those that the moments leave out."""
    n_texts: int = 0
    n_tokens: int = 0
    """Texts and tokens of the moments."""
    batches: list[TextBatch] = field(default_factory=list)
    """These texts."""

    @property
    def checks(self) -> list[TextBatch]:
        """Some of the texts, of about CHECK_TOKENS tokens, on which divergences are measured."""
        every = max(1, len(self.batches) * TOKENS_A_BATCH // CHECK_TOKENS)
        chosen: list[TextBatch] = []
        for batch in self.batches[every // 2 :: every]:
            if sum(int(other.mask.sum()) for other in chosen) >= CHECK_TOKENS:
                break
            chosen.append(batch)
        return chosen


def calibrate(
    model: PreTrainedModel,
    encoded: list[list[int]],
    *,
    layout: TextLayout = SINGLE_TEXTS,
    mask_id: int | None = None,
    seed: int = 0,
    progress: Callable[[str], None] = lambda message: None,
) -> Calibration:
    """Compute the second moments of all linear layers and embedding tables of a model.

    Args:
        model: a float32 model.
        encoded: token ids of each text. Tokens are counted in all. Moments are taken on at most n
            texts, every k-th from the first, k = max(1, len(encoded) // n). n is N_TEXTS, or the
            number of texts of mean length that have N_TOKENS tokens if that is less.
        layout: token types and choices of the texts.
        mask_id: id of the mask token, for a masked language model.
        seed: of the random projections and masked positions.
        progress: called with a line about every batch.
    """
    generator = torch.Generator().manual_seed(seed)
    all_ids = torch.tensor([i for ids in encoded for i in ids])
    token_counts = torch.bincount(all_ids, minlength=find_embedding(model)[1].num_embeddings)
    n_texts = max(1, min(N_TEXTS, N_TOKENS * len(encoded) // len(all_ids)))
    types, choices = layout
    step = choices * max(1, len(encoded) // n_texts)
    starts = range(0, len(encoded), step)[: max(1, n_texts // choices)]
    chosen = [start + choice for start in starts for choice in range(choices)]
    encoded = [encoded[i] for i in chosen]
    types = [types[i] for i in chosen] if types is not None else None
    groups = group_texts(list(map(len, encoded)), choices)
    batches: list[TextBatch] = []
    done = 0
    model.requires_grad_(False)
    watch = _Watch(model)
    try:
        for group in groups:
            texts = [encoded[i] for i in group]
            types_of_texts = [types[i] for i in group] if types is not None else None
            batch = make_batch(model, texts, types_of_texts, choices, mask_id, generator)
            batches.append(batch)
            watch.mask = batch.mask
            output = run_batch(model, batch.inputs)
            projection = fisher_projection(output, batch.labels, generator)
            watch.logits = softmax_logits(output)
            if projection.requires_grad:
                projection.backward()
            watch.end_batch()
            done += len(texts)
            progress(f"calibration: {done}/{len(encoded)} texts")
    finally:
        watch.remove()
    moments = watch.moments(len(encoded))
    del watch  # frees the sums
    malloc_trim()
    return Calibration(moments, token_counts, len(encoded), sum(map(len, encoded)), batches)


class _Watch:
    """Hooks that sum up second moments of all linear layers and embedding tables of a model."""

    def __init__(self, model: nn.Module) -> None:
        self.mask = torch.ones(0, 0, dtype=torch.bool)
        self.logits: Tensor | None = None
        """Output of the batch whose softmax predicts labels, if there is one."""
        self._sums: dict[str, _Sums] = {}
        self._shared: dict[str, str] = {}
        """Layers whose inputs are those of another layer, as query, key and value."""
        self._inputs: dict[int, tuple[Tensor, str]] = {}
        self._handles: list[RemovableHandle] = []
        self._tables: set[str] = set()
        for name, module in model.named_modules():
            if isinstance(module, nn.Embedding):
                self._tables.add(name)
                self._handles.append(module.register_forward_hook(self._table_hook(name)))
            elif type(module) is nn.Linear or isinstance(module, Conv1D):
                self._handles.append(module.register_forward_hook(self._layer_hook(name)))

    def remove(self) -> None:
        """Remove the hooks."""
        for handle in self._handles:
            handle.remove()

    def end_batch(self) -> None:
        """Forget the inputs and logits of a batch."""
        self._inputs.clear()
        self.logits = None

    def _layer_hook(self, name: str) -> Callable[..., None]:
        """Forward hook of a linear layer, which adds its inputs and output gradients to the sums.

        Inputs that several layers read are summed for the first of them alone.

        Args:
            name: of the layer in the model.
        """

        def hook(module: nn.Module, inputs: tuple[Tensor, ...], output: Tensor) -> None:
            x = inputs[0].detach()
            sums = self._of(name, x.shape[-1], output.shape[-1])
            _, owner = self._inputs.setdefault(id(inputs[0]), (inputs[0], name))
            if owner == name:
                rows = token_rows(x, self.mask)
                sums.inputs.addmm_(rows.T, rows)
                sums.n_tokens += len(rows)
            else:
                self._shared[name] = owner
            if output.requires_grad:
                # Without its graph: a hook that holds its own tensor keeps the graph of each batch.
                values = output.detach()
                output.register_hook(lambda g: self._add(sums.outputs, values, g))

        return hook

    def _table_hook(self, name: str) -> Callable[..., Tensor]:
        """Forward hook of an embedding table, which adds uses of rows and gradients to the sums.

        It replaces the output by a leaf, at which the gradient is taken.

        Args:
            name: of the table in the model.
        """

        def hook(module: nn.Embedding, inputs: tuple[Tensor, ...], output: Tensor) -> Tensor:
            ids = inputs[0]
            if ids.is_floating_point():  # BART computes positions from embedded tokens
                return output
            used = ids[self.mask] if ids.shape == self.mask.shape else ids.flatten()
            sums = self._of(name, output.shape[-1], module.num_embeddings)
            sums.outputs.index_add_(0, used.flatten(), torch.ones(used.numel()))
            sums.n_tokens += used.numel()

            def add(gradient: Tensor) -> None:
                rows = gradient.flatten(0, -2)
                sums.inputs.addmm_(rows.T, rows)

            # A clone, as some models add to it in place.
            leaf = output.detach().requires_grad_().clone()
            leaf.register_hook(add)
            return leaf

        return hook

    def _of(self, name: str, d: int, n: int) -> _Sums:
        """The sums of a layer, of inputs of width d and n outputs."""
        if name not in self._sums:
            self._sums[name] = _Sums(torch.zeros(d, d), torch.zeros(n))
        return self._sums[name]

    def _add(self, outputs: Tensor, output: Tensor, gradient: Tensor) -> None:
        """Add squared gradients of a layer's output; of logits their expectation, p (1 - p)."""
        rows = gradient.flatten(0, -2)
        if self.logits is not None and output.data_ptr() == self.logits.data_ptr():
            p = output.flatten(0, -2)[rows.any(-1)].softmax(-1)  # at predicted places alone
            outputs += (p - p.square()).sum(0)
        else:
            outputs += rows.square().sum(0)

    def moments(self, n_texts: int) -> dict[str, Moments]:
        """Moments by layer; layers that no text reached, or without gradient, are left out."""
        moments = {}
        for name, sums in self._sums.items():
            of_inputs = self._sums[self._shared.get(name, name)]
            if not of_inputs.n_tokens:
                continue
            outputs = sums.outputs / n_texts
            if name in self._tables:
                outputs = outputs + UNSEEN_USE * outputs.max()
            found = Moments(_shrink(of_inputs.inputs, of_inputs.n_tokens), outputs)
            if all(
                bool(m.isfinite().all()) and float(m.sum()) != 0
                for m in (found.inputs.diagonal(), outputs)
            ):
                moments[name] = found
        return moments


def _shrink(total: Tensor, n_tokens: int) -> Tensor:
    """Second moment (d, d) of tokens, shrunk towards the multiple of I that has its trace.

    As Ledoit and Wolf (2004) do, the more so, the fewer tokens there are for d dimensions: the
    weight of I is d / (d + T / SHRINKAGE) for T tokens.

    Args:
        total: sum of x x^T over the tokens.
        n_tokens: number of tokens.
    """
    moment = total / n_tokens
    d = len(moment)
    share = d / (d + n_tokens / SHRINKAGE)
    shrunk = (1 - share) * moment
    shrunk.diagonal().add_(share * moment.diagonal().mean())
    return shrunk
