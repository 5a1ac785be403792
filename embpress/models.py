"""Checkpoints of language models: find the embedding, describe it, put a compressed one in its place."""

from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn
from transformers import (
    AutoModel,
    AutoModelForCausalLM,
    AutoModelForMaskedLM,
    AutoModelForSequenceClassification,
    PreTrainedModel,
)
from transformers.utils import logging as transformers_logging

from .checkpoints import CARD
from .errors import UserError
from .files import write_json
from .formats.base import CompressedMatrix

AUTO_CLASSES = {
    "encoder": AutoModel,
    "classifier": AutoModelForSequenceClassification,
    "causal_lm": AutoModelForCausalLM,
    "masked_lm": AutoModelForMaskedLM,
}

# Bars and load reports of every job would bury the workflow's own lines.
transformers_logging.disable_progress_bar()
transformers_logging.set_verbosity_error()


def load_model(folder: Path, head: str) -> PreTrainedModel:
    """A checkpoint in float32 for inference. `head` is a key of AUTO_CLASSES.

    Raises:
        UserError: if the folder holds no model that transformers can load offline.
    """
    try:
        model = AUTO_CLASSES[head].from_pretrained(folder, dtype=torch.float32, local_files_only=True)
    except (OSError, ValueError, RuntimeError) as error:
        raise UserError(f"{folder} holds no model that loads as {head} ({str(error).splitlines()[0]})") from error
    return model.eval()


def embedding_of(model: PreTrainedModel) -> tuple[str, nn.Embedding]:
    """The input embedding and the name of its weight in the state dict.

    Raises:
        UserError: if the model has none.
    """
    try:
        embedding = model.get_input_embeddings()
    except NotImplementedError:
        embedding = None
    for name, module in model.named_modules():
        if module is embedding and isinstance(module, nn.Embedding):
            return f"{name}.weight", module
    raise UserError(f"{type(model).__name__} has no input embedding: there is nothing to compress")


def tied_head(model: PreTrainedModel) -> nn.Module | None:
    """The output head that shares the embedding's weight, if there is one."""
    head = model.get_output_embeddings()
    if head is not None and head.weight is embedding_of(model)[1].weight:
        return head
    return None


def untie_head(model: PreTrainedModel) -> None:
    """Give a tied output head a dense copy of the embedding for its own, which stays when the embedding is replaced."""
    head = tied_head(model)
    if head is not None:
        model.config.tie_word_embeddings = False
        head.weight = nn.Parameter(embedding_of(model)[1].weight.detach().clone())


def describe(model: PreTrainedModel, special_ids: list[int], folder: Path, source: dict[str, Any]) -> None:
    """Write the card of a checkpoint: where its embedding is, how large it and the model are, where it came from."""
    name, embedding = embedding_of(model)
    card = {
        "embedding": name,
        "shape": list(embedding.weight.shape),
        "tied_head": tied_head(model) is not None,
        "parameters": sum(p.numel() for p in model.parameters()),
        "special_ids": sorted(set(special_ids)),
        "source": source,
    }
    write_json(folder / CARD, card)


class CompressedEmbedding(nn.Module):
    """Stands for `nn.Embedding`: decodes each distinct token of a batch once."""

    def __init__(self, matrix: CompressedMatrix) -> None:
        super().__init__()
        self.matrix = matrix
        self.num_embeddings, self.embedding_dim = matrix.shape

    def forward(self, ids: Tensor) -> Tensor:
        """Ids of any shape (...) to rows (..., d)."""
        distinct, where = ids.unique(return_inverse=True)
        return self.matrix.rows(distinct)[where]


class CompressedHead(nn.Module):
    """Stands for an output head tied to the embedding: the product with the same compressed matrix."""

    def __init__(self, matrix: CompressedMatrix) -> None:
        super().__init__()
        self.matrix = matrix

    def forward(self, hidden: Tensor) -> Tensor:
        """(..., d) to logits (..., V)."""
        return self.matrix.product(hidden)


class EmbeddingSlot:
    """The place of a model's input embedding and, where it is tied, of its output head: matrices go in one after another."""

    def __init__(self, model: PreTrainedModel) -> None:
        self.model = model
        self.shape = tuple(embedding_of(model)[1].weight.shape)
        self.tied = tied_head(model) is not None

    def put(self, matrix: CompressedMatrix) -> None:
        """Let the model run on a compressed matrix.

        Raises:
            UserError: if its shape is another one.
        """
        if self.shape != matrix.shape:
            raise UserError(f"the model's embedding is {self.shape}, the compressed one {matrix.shape}: compress it anew")
        self.model.set_input_embeddings(CompressedEmbedding(matrix))
        if self.tied:
            self.model.set_output_embeddings(CompressedHead(matrix))
