"""How much a model's output answers to each row of its embedding: importance weights of rows, as
B23's code offers them.

The paper (Banaei et al., Findings of EACL 2023; authors' code) takes the gradient of the mean
probability of the correct token at masked positions, on training text, and sums a row's squares
(`fisher`, then the root) or absolute values (`l1_sensitivity`). This is done here for masked
models, and where a model has another head for the nearest thing to it:

- a causal model: the correct token is the next one, at every position;
- a classifier: the mean log-probability of the label that the model itself predicts, as the text
  has no labels.

Gradients are those of the input rows alone, also where an output head is tied to them. They are
added up within a batch before they are squared, as in the paper's code, in batches of
TOKENS_A_BATCH. An encoder without a head predicts nothing and is refused.

Of linear layers, where they are asked for, the gradient is the weight's, whose rows are the layer's
outputs.
"""

import json
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path

import torch
from torch import Tensor
from torch.nn import functional
from transformers import PreTrainedModel, PreTrainedTokenizerBase
from transformers.pytorch_utils import Conv1D

from ..errors import UserError
from ..study.layer_kinds import find_layer_matrices
from .assembly import weight_of
from .embedding import embedding_of, load_model
from .tokenization import blocks_of_text, load_tokenizer

TOKENS_A_BATCH = 512
"""Bounds memory at a few (tokens, V) blocks of floats."""
BLOCK = {"causal_lm": 256, "masked_lm": 256, "classifier": 64}
"""Tokens of context: the paper's for language models, about a sentence or two for a classifier."""
MASKED = 15
"""One token of this many is masked: the paper's code masks length // 15 positions of a text."""

Objective = Callable[[PreTrainedModel, Tensor], Tensor]
"""Model and ids (B, T) to the scalar whose gradient counts."""


def head_of(folder: Path) -> str:
    """Which head a checkpoint has: a key of BLOCK.

    Raises:
        UserError: if it has none from whose output a sensitivity could be told.
    """
    (architecture, *_) = json.loads((folder / "config.json").read_text()).get("architectures") or [
        ""
    ]
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
        f"{folder} holds {architecture or 'a model'} without a head that predicts tokens or labels: weight its rows "
        "by counts or uniform instead"
    )


def correct_next_token(model: PreTrainedModel, ids: Tensor) -> Tensor:
    """Mean probability of each next token of a causal model."""
    logits = model(input_ids=ids, use_cache=False).logits[:, :-1]
    return _probabilities(logits.flatten(0, 1), ids[:, 1:].flatten()).mean()


def correct_masked_token(
    mask_id: int, special_ids: Iterable[int], generator: torch.Generator
) -> Objective:
    """Mean probability of the tokens at masked positions, drawn anew for each batch."""
    special = torch.tensor(sorted(special_ids), dtype=torch.int64)

    def objective(model: PreTrainedModel, ids: Tensor) -> Tensor:
        order = (
            torch.rand(ids.shape, generator=generator)
            .masked_fill(torch.isin(ids, special), 2.0)
            .argsort(1)
        )
        masked = torch.zeros_like(ids, dtype=torch.bool).scatter_(
            1, order[:, : max(1, ids.shape[1] // MASKED)], True
        )
        logits = model(input_ids=ids.masked_fill(masked, mask_id)).logits
        return _probabilities(logits[masked], ids[masked]).mean()

    return objective


def own_prediction(model: PreTrainedModel, ids: Tensor) -> Tensor:
    """Mean log-probability of the label that a classifier predicts for each text."""
    return functional.log_softmax(model(input_ids=ids).logits, dim=1).amax(1).mean()


def _objective(head: str, tokenizer: PreTrainedTokenizerBase, seed: int) -> Objective:
    """What counts for a head."""
    if head == "causal_lm":
        return correct_next_token
    if head == "classifier":
        return own_prediction
    if tokenizer.mask_token_id is None:
        raise UserError(
            "the tokenizer of a masked language model has no mask token: add it to its tokenizer_config.json"
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
    """Gradient of an objective with respect to the input rows of one batch; `weights` get theirs as
    `.grad`.

    Returns:
        The distinct ids that the model looked up (n,), and their rows' gradients (n, d).
    """
    looked_up: list[tuple[Tensor, Tensor]] = []

    def detach(module: torch.nn.Module, inputs: tuple[Tensor, ...], output: Tensor) -> Tensor:
        # The graph starts at what was looked up: a tied head's share of the weight's gradient stays
        # out.
        leaf = output.detach().requires_grad_()
        looked_up.append((inputs[0], leaf))
        return leaf

    handle = embedding_of(model)[1].register_forward_hook(detach)
    try:
        value = objective(model, ids)
        gradients = torch.autograd.grad(value, [leaf for _, leaf in looked_up] + list(weights))
    finally:
        handle.remove()
    for weight, gradient in zip(weights, gradients[len(looked_up) :]):
        weight.grad = gradient
    distinct, where = torch.cat([seen.flatten() for seen, _ in looked_up]).unique(
        return_inverse=True
    )
    each = torch.cat([gradient.flatten(0, -2) for gradient in gradients[: len(looked_up)]])
    return distinct, each.new_zeros(len(distinct), each.shape[1]).index_add_(0, where, each)


def sensitivities(
    model: PreTrainedModel,
    batches: Iterable[Tensor],
    objective: Objective,
    progress: Callable[[str], None],
    layers: Sequence[str] = (),
) -> dict[str, Tensor]:
    """Float32 (V,) sensitivities of a model's input rows, by the name of the weighting that they
    are for.

    Those of the rows of `layers`, names of linear ones within the base model, stand under
    `weighting:layer`.
    """
    model.requires_grad_(False)
    modules = {name: model.base_model.get_submodule(name) for name in layers}
    weights = {
        name: module.get_parameter("weight").requires_grad_() for name, module in modules.items()
    }
    sizes = {"": embedding_of(model)[1].num_embeddings} | {
        f":{n}": len(weight_of(m, n)) for n, m in modules.items()
    }
    squares, absolutes = (
        {of: torch.zeros(n, dtype=torch.float64) for of, n in sizes.items()} for _ in range(2)
    )
    done = 0
    for ids in batches:
        rows, gradients = row_gradients(model, ids, objective, list(weights.values()))
        squares[""][rows] += gradients.double().square().sum(1)
        absolutes[""][rows] += gradients.double().abs().sum(1)
        for name, weight in weights.items():
            of_inputs = 0 if isinstance(modules[name], Conv1D) else 1
            gradient = weight.grad.double()  # type: ignore[union-attr]
            squares[f":{name}"] += gradient.square().sum(of_inputs)
            absolutes[f":{name}"] += gradient.abs().sum(of_inputs)
        done += ids.numel()
        progress(f"{done} tokens")
    found = {f"fisher{of}": values.sqrt().float() for of, values in squares.items()}
    return found | {f"l1_sensitivity{of}": values.float() for of, values in absolutes.items()}


def measure(
    checkpoint: Path,
    texts: list[str],
    n_tokens: int,
    seed: int,
    progress: Callable[[str], None],
    kinds: Sequence[str] = (),
    patterns: dict[str, str] | None = None,
) -> dict[str, Tensor]:
    """Sensitivities of a checkpoint's rows on about n_tokens of running text; see `sensitivities`.

    Args:
        checkpoint: its folder.
        texts: running text.
        n_tokens: how much of it to read, about.
        seed: seeds what is masked.
        progress: told how it goes.
        kinds: kinds of linear layers whose rows are measured too.
        patterns: names of the model's layers by kind, where they are not those of
            `modules.PATTERNS`.

    Raises:
        UserError: if the checkpoint has no head, the texts are too short, or there are no layers of
            a kind.
    """
    head = head_of(checkpoint)
    model = load_model(checkpoint, head)
    tokenizer = load_tokenizer(checkpoint)
    block = min(BLOCK[head], getattr(model.config, "max_position_embeddings", None) or BLOCK[head])
    objective = _objective(head, tokenizer, seed)
    blocks = blocks_of_text(texts, tokenizer, block, n_tokens, special=head != "causal_lm")
    progress(f"{blocks.numel()} tokens in blocks of {block}")
    modules = [name for name, _ in model.base_model.named_modules()]
    layers = [layer.name for layer in find_layer_matrices(modules, kinds, patterns)]
    return sensitivities(
        model, blocks.split(max(1, TOKENS_A_BATCH // block)), objective, progress, layers
    )
