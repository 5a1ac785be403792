"""Sensitivities of rows: how strongly a model's output depends on each row of its embedding.

Importance weights for the rows of a matrix, as in the code of B23 (Banaei et al., Findings of EACL
2023): the gradient of the mean probability of the correct token at masked positions, on training
text. A row's weight is the root of the sum of its squared gradients (`fisher`), or the sum of their
absolute values (`l1_sensitivity`). The paper has masked language models; other heads use the
closest quantity:

- causal language model: the probability of the next token, at every position;
- classifier: the log-probability of the label that the model itself predicts, as the text has no
  labels.

Gradients are taken for the input rows only, also where an output head is tied to them. They are
summed within a batch of TOKENS_A_BATCH tokens before they are squared, as in the paper's code. An
encoder without a head predicts nothing and is refused.

For linear layers, the gradient is taken for the weight, whose rows are the layer's outputs.
"""

import json
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import torch
from torch import Tensor
from torch.nn import functional
from transformers import PreTrainedModel, PreTrainedTokenizerBase
from transformers.pytorch_utils import Conv1D

from ..errors import UserError
from ..numerics.device import CPU
from ..study.layer_kinds import find_layer_matrices
from .compressed_model import linear_weight
from .embedding import find_embedding
from .loading import load_model
from .tokenization import load_tokenizer, sample_token_blocks

TOKENS_A_BATCH = 512
"""Tokens of a batch, which bound the memory to a few (tokens, V) matrices of floats."""
BLOCK = {"causal_lm": 256, "masked_lm": 256, "classifier": 64}
"""Tokens of a block by head: the paper's context, or one to two sentences for a classifier."""
TOKENS_PER_MASK = 15
"""The paper's code masks length // 15 positions of a text."""

Objective = Callable[[PreTrainedModel, Tensor], Tensor]
"""From a model and token ids (B, T) to the scalar whose gradient is taken."""


@dataclass(frozen=True)
class SensitivitySettings:
    """What `compute_checkpoint_sensitivities` reads and for which matrices it computes."""

    n_tokens: int
    """Approximate number of tokens of running text to read."""
    seed: int = 0
    """Seed of the masked positions."""
    kinds: Sequence[str] = ()
    """Kinds of linear layers whose rows get sensitivities too."""
    patterns: dict[str, str] | None = None
    """Names of the model's layers by kind, where they differ from those of `layer_kinds`."""


def find_prediction_head(folder: Path) -> str:
    """Which head a checkpoint has, by the class name in its config: a key of BLOCK.

    Raises:
        UserError: if it has no head that predicts tokens or labels.
    """
    config = json.loads((folder / "config.json").read_text())
    architecture = (config.get("architectures") or [""])[0]
    endings = {
        "ForCausalLM": "causal_lm",
        "LMHeadModel": "causal_lm",
        "ForMaskedLM": "masked_lm",
        "ForSequenceClassification": "classifier",
    }
    for ending, head in endings.items():
        if architecture.endswith(ending):
            return head
    raise UserError(
        f"{folder} contains {architecture or 'a model'} without a head that predicts tokens or "
        "labels: weight its rows by counts or uniform instead"
    )


def correct_next_token(model: PreTrainedModel, ids: Tensor) -> Tensor:
    """Mean probability of each next token of a causal model."""
    logits = model(input_ids=ids, use_cache=False).logits[:, :-1]
    return _probabilities(logits.flatten(0, 1), ids[:, 1:].flatten()).mean()


def correct_masked_token(
    mask_id: int, special_ids: Iterable[int], generator: torch.Generator
) -> Objective:
    """Mean probability of the tokens at masked positions, which are drawn for each batch."""
    special = torch.tensor(sorted(special_ids), dtype=torch.int64)

    def objective(model: PreTrainedModel, ids: Tensor) -> Tensor:
        # Drawn on the CPU, so that the same positions are masked on every device.
        random = torch.rand(ids.shape, generator=generator).to(ids.device)
        is_special = torch.isin(ids, special.to(ids.device))
        order = random.masked_fill(is_special, 2.0).argsort(1)
        chosen = order[:, : max(1, ids.shape[1] // TOKENS_PER_MASK)]
        is_masked = torch.zeros_like(ids, dtype=torch.bool).scatter_(1, chosen, True)
        logits = model(input_ids=ids.masked_fill(is_masked, mask_id)).logits
        return _probabilities(logits[is_masked], ids[is_masked]).mean()

    return objective


def own_prediction(model: PreTrainedModel, ids: Tensor) -> Tensor:
    """Mean log-probability of the label that a classifier predicts for each text."""
    return functional.log_softmax(model(input_ids=ids).logits, dim=1).amax(1).mean()


def _objective(head: str, tokenizer: PreTrainedTokenizerBase, seed: int) -> Objective:
    """The objective for a head."""
    if head == "causal_lm":
        return correct_next_token
    if head == "classifier":
        return own_prediction
    if tokenizer.mask_token_id is None:
        raise UserError(
            "the tokenizer of a masked language model has no mask token: add it to its "
            "tokenizer_config.json"
        )
    return correct_masked_token(
        tokenizer.mask_token_id, tokenizer.all_special_ids, torch.Generator().manual_seed(seed)
    )


def _probabilities(logits: Tensor, targets: Tensor) -> Tensor:
    """Probability of each target: logits (N, V), targets (N,) to (N,)."""
    return (-functional.cross_entropy(logits, targets, reduction="none")).exp()


def row_gradients(
    model: PreTrainedModel, ids: Tensor, objective: Objective, weights: Sequence[Tensor] = ()
) -> tuple[Tensor, Tensor]:
    """Compute the gradient of an objective with respect to the input rows of one batch.

    Args:
        model: a model with a head.
        ids: token ids (B, T).
        objective: the scalar whose gradient is taken.
        weights: weights of linear layers, which get their gradients as `.grad`.

    Returns:
        The distinct ids that the model looked up (n,), and the gradients of their rows (n, d).
    """
    lookups: list[tuple[Tensor, Tensor]] = []

    def detach(module: torch.nn.Module, inputs: tuple[Tensor, ...], output: Tensor) -> Tensor:
        # The graph starts at the looked-up rows, so that the gradient through a tied head is
        # excluded.
        leaf = output.detach().requires_grad_()
        lookups.append((inputs[0], leaf))
        return leaf

    handle = find_embedding(model)[1].register_forward_hook(detach)
    try:
        value = objective(model, ids)
        gradients = torch.autograd.grad(value, [leaf for _, leaf in lookups] + list(weights))
    finally:
        handle.remove()
    for weight, gradient in zip(weights, gradients[len(lookups) :]):
        weight.grad = gradient
    all_ids = torch.cat([lookup_ids.flatten() for lookup_ids, _ in lookups])
    distinct_ids, positions = all_ids.unique(return_inverse=True)
    per_token = torch.cat([gradient.flatten(0, -2) for gradient in gradients[: len(lookups)]])
    per_row = per_token.new_zeros(len(distinct_ids), per_token.shape[1])
    return distinct_ids, per_row.index_add_(0, positions, per_token)


def compute_sensitivities(
    model: PreTrainedModel,
    batches: Iterable[Tensor],
    objective: Objective,
    progress: Callable[[str], None],
    layers: Sequence[str] = (),
) -> dict[str, Tensor]:
    """Compute the sensitivities of the rows of a model's embedding and of linear layers.

    Args:
        model: a model with a head, on the device on which the gradients are computed.
        batches: token ids, (B, T) each, on the CPU.
        objective: the scalar whose gradient is taken.
        progress: called with the number of tokens after each batch.
        layers: names of linear layers within the base model.

    Returns:
        Float32 (V,) tensors on the CPU by the name of their weighting, and (out,) tensors of the
        layers by `weighting:layer`.
    """
    model.requires_grad_(False)
    modules = {name: model.base_model.get_submodule(name) for name in layers}
    weights = {
        name: module.get_parameter("weight").requires_grad_() for name, module in modules.items()
    }
    n_rows = {"": find_embedding(model)[1].num_embeddings}
    n_rows |= {f":{name}": len(linear_weight(layer, name)) for name, layer in modules.items()}
    zeros = partial(torch.zeros, dtype=torch.float64, device=model.device)
    squares = {key: zeros(n) for key, n in n_rows.items()}
    absolutes = {key: zeros(n) for key, n in n_rows.items()}
    n_tokens = 0
    for batch in batches:
        ids = batch.to(model.device)
        rows, gradients = row_gradients(model, ids, objective, list(weights.values()))
        squares[""][rows] += gradients.double().square().sum(1)
        absolutes[""][rows] += gradients.double().abs().sum(1)
        for name, weight in weights.items():
            input_axis = 0 if isinstance(modules[name], Conv1D) else 1
            gradient = weight.grad.double()  # type: ignore[union-attr]
            squares[f":{name}"] += gradient.square().sum(input_axis)
            absolutes[f":{name}"] += gradient.abs().sum(input_axis)
        n_tokens += ids.numel()
        progress(f"{n_tokens} tokens")
    fisher = {f"fisher{key}": values.sqrt() for key, values in squares.items()}
    sums = fisher | {f"l1_sensitivity{key}": values for key, values in absolutes.items()}
    return {name: values.float().cpu() for name, values in sums.items()}


def compute_checkpoint_sensitivities(
    checkpoint: Path,
    texts: list[str],
    settings: SensitivitySettings,
    progress: Callable[[str], None],
    device: torch.device = CPU,
) -> dict[str, Tensor]:
    """Compute the sensitivities of a checkpoint's rows on running text.

    Args:
        checkpoint: its folder.
        texts: running text.
        settings: how much of the text is read, and for which matrices.
        progress: called with a line about every batch.
        device: where the model runs.

    Returns:
        As `compute_sensitivities`.

    Raises:
        UserError: if the checkpoint has no head, the texts are too short, or it has no layers of a
            kind.
    """
    head = find_prediction_head(checkpoint)
    model = load_model(checkpoint, head, device)
    tokenizer = load_tokenizer(checkpoint)
    block = min(BLOCK[head], getattr(model.config, "max_position_embeddings", None) or BLOCK[head])
    objective = _objective(head, tokenizer, settings.seed)
    blocks = sample_token_blocks(
        texts, tokenizer, block, settings.n_tokens, special=head != "causal_lm"
    )
    progress(f"{blocks.numel()} tokens in blocks of {block}")
    names = [name for name, _ in model.base_model.named_modules()]
    layers = [place.name for place in find_layer_matrices(names, settings.kinds, settings.patterns)]
    batches = blocks.split(max(1, TOKENS_A_BATCH // block))
    return compute_sensitivities(model, batches, objective, progress, layers)
