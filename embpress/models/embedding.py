"""Checkpoints of language models.

Find the embedding, describe it, put a compressed one in its place.
"""

from pathlib import Path
from typing import Any

import torch
import transformers
from torch import Tensor, nn
from transformers import (
    AutoModel,
    AutoModelForCausalLM,
    AutoModelForMaskedLM,
    AutoModelForMultipleChoice,
    AutoModelForQuestionAnswering,
    AutoModelForSequenceClassification,
    PreTrainedModel,
)
from transformers.pytorch_utils import Conv1D
from transformers.utils import logging as transformers_logging

from ..errors import UserError
from ..files import first_line, write_json
from ..formats._base import CompressedMatrix
from .checkpoints import CARD

AUTO_CLASSES = {
    "encoder": AutoModel,
    "classifier": AutoModelForSequenceClassification,
    "causal_lm": AutoModelForCausalLM,
    "masked_lm": AutoModelForMaskedLM,
    "multiple_choice": AutoModelForMultipleChoice,
    "span": AutoModelForQuestionAnswering,
}


def auto_class(head: str) -> Any:
    """Auto class that loads a model with a head, by a key of AUTO_CLASSES or by its own name.

    Raises:
        AttributeError: if transformers has no such class.
    """
    return AUTO_CLASSES.get(head) or getattr(transformers, head)


# Bars and load reports of every job would bury the workflow's own lines.
transformers_logging.disable_progress_bar()
transformers_logging.set_verbosity_error()


def load_model(folder: Path, head: str) -> PreTrainedModel:
    """A checkpoint in float32 for inference. `head` is as in `auto_class`.

    Raises:
        UserError: if the folder holds no model that transformers can load offline.
    """
    try:
        model = auto_class(head).from_pretrained(folder, dtype=torch.float32, local_files_only=True)
    except Exception as error:  # transformers, safetensors and torch each fail in their own ways
        raise UserError(
            f"{folder} holds no model that loads as {head} ({first_line(error)}): save it again"
        ) from error
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
    """Give a tied output head a dense copy of the embedding for its own.

    Which stays when the embedding is replaced.
    """
    head = tied_head(model)
    if head is not None:
        model.config.tie_word_embeddings = False
        head.weight = nn.Parameter(embedding_of(model)[1].weight.detach().clone())


def describe(
    model: PreTrainedModel, special_ids: list[int], folder: Path, source: dict[str, Any]
) -> None:
    """Write the card of a checkpoint.

    Where its embedding is, how large it and the model are, where it came from.
    """
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


class WholeMatrixWanted(UserError, AttributeError):
    """Model code asked a compressed layer for its dense weight.

    An AttributeError too, so that `hasattr` answers False.
    """


class _CompressedLayer(nn.Module):
    """What lookup and head share.

    A matrix that may be swapped, and the type in which the model computes.
    """

    matrix: CompressedMatrix

    def __init__(self, matrix: CompressedMatrix | None, dense: nn.Module | None) -> None:
        super().__init__()
        if matrix is not None:
            self.matrix = matrix
        weight: Any = matrix if dense is None else dense.weight
        self.dense_shape = (0, 0) if weight is None else tuple(weight.shape)
        if isinstance(dense, Conv1D):
            self.dense_shape = self.dense_shape[::-1]
        # Follows model.half() and model.to(...): decoded rows come out in the type of the other
        # layers.
        self.like: Tensor
        self.register_buffer(
            "like", torch.empty(0, dtype=getattr(weight, "dtype", torch.float32)), persistent=False
        )

    def __getattr__(self, name: str) -> Any:
        if name == "weight":
            if "matrix" not in self._modules:
                # transformers' initialisers fill an empty place, and pad a bias to its shape: this
                # takes no memory.
                return torch.empty(self.dense_shape, device="meta")
            raise WholeMatrixWanted(
                "this model reads its whole embedding matrix, which a compressed one never builds: leave it uncompressed"
            )
        return super().__getattr__(name)


class CompressedEmbedding(_CompressedLayer):
    """Stands for `nn.Embedding`: decodes each distinct token of a batch once.

    Args:
        matrix: what is decoded; None leaves the place empty until a matrix is set.
        dense: the layer it stands for, whose type and scale it keeps.
    """

    def __init__(self, matrix: CompressedMatrix | None, dense: nn.Embedding | None = None) -> None:
        super().__init__(matrix, dense)
        self.num_embeddings, self.embedding_dim = self.dense_shape
        self.padding_idx = None if dense is None else dense.padding_idx
        self.scale, self.scale_in_dtype = (1.0, False) if dense is None else scale_of(dense)

    def forward(self, ids: Tensor) -> Tensor:
        """Ids of any shape (...) to rows (..., d)."""
        distinct, where = ids.unique(return_inverse=True)
        rows = self.matrix.rows(distinct).to(self.like.dtype)
        if self.scale != 1.0:
            rows = rows * (
                torch.tensor(self.scale, dtype=rows.dtype) if self.scale_in_dtype else self.scale
            )
        return rows[where]


class CompressedLinear(_CompressedLayer):
    """Stands for a linear layer, such as a tied output head: the product with a compressed (out,
    in) matrix, plus the bias.

    GPT-2's Conv1D is a linear layer too, whose dense weight is transposed.
    """

    def __init__(
        self, matrix: CompressedMatrix | None, dense: nn.Linear | Conv1D | None = None
    ) -> None:
        super().__init__(matrix, dense)
        self.register_parameter("bias", None if dense is None else dense.bias)

    def forward(self, hidden: Tensor) -> Tensor:
        """(..., in) to (..., out)."""
        found = self.matrix.product(hidden.float()).to(self.like.dtype)
        return found if self.bias is None else found + self.bias


def scale_of(embedding: nn.Embedding) -> tuple[float, bool]:
    """What an embedding multiplies its rows by, and whether that number is first rounded to the
    rows' type.

    Raises:
        UserError: if the layer does more than look up and scale.
    """
    kind = type(embedding)
    factor = 1.0
    rounded = False
    plain = kind is nn.Embedding and embedding.max_norm is None
    if kind.__name__.endswith("ScaledWordEmbedding"):
        # In transformers, Gemma's keep the number beside a buffer of the rows' type, BART's keep
        # only the number.
        rounded = hasattr(embedding, "scalar_embed_scale")
        scale: Any = getattr(embedding, "scalar_embed_scale" if rounded else "embed_scale", None)
        if isinstance(scale, (int, float)):
            plain = True
            factor = float(scale)
    if not plain or [n for n, _ in embedding.named_parameters()] != ["weight"]:
        raise UserError(
            f"the embedding is a {kind.__name__}, which does more than look rows up: it cannot be compressed"
        )
    return factor, rounded


class EmbeddingSlot:
    """The places where a model uses its input embedding: lookups, and output heads that are tied to
    it.

    Matrices go in one after another.
    """

    def __init__(self, model: PreTrainedModel) -> None:
        self.model = model
        weight = embedding_of(model)[1].weight
        self.shape = (weight.shape[0], weight.shape[1])
        self.lookups: list[str] = []
        self.heads: list[str] = []
        self._layers: dict[str, _CompressedLayer] = {}
        self._emptied = False
        of_module: dict[int, _CompressedLayer] = {}
        for name, module in model.named_modules(remove_duplicate=False):
            if any(p is weight for p in module._parameters.values()):
                # One module under two names stays one module.
                layer = of_module.get(id(module)) or self._layer(name, module)
                of_module[id(module)] = self._layers[name] = layer
                (self.lookups if isinstance(layer, CompressedEmbedding) else self.heads).append(
                    name
                )

    @property
    def places(self) -> list[str]:
        """Names of all layers that run on the matrix."""
        return self.lookups + self.heads

    @property
    def matrix(self) -> CompressedMatrix:
        """The matrix that is in."""
        return self._layers[self.lookups[0]].matrix

    @staticmethod
    def _layer(name: str, module: nn.Module) -> _CompressedLayer:
        """What will stand in the place of a layer that uses the embedding."""
        if isinstance(module, nn.Embedding):
            return CompressedEmbedding(None, module)
        if isinstance(module, nn.Linear):
            return CompressedLinear(None, module)
        raise UserError(
            f"{name}, a {type(module).__name__}, shares the embedding, but is no lookup and no linear head"
        )

    def empty(self) -> None:
        """Take the dense matrix out of the model: no layer holds it any more."""
        for name, layer in self._layers.items():
            parent, _, attribute = name.rpartition(".")
            setattr(self.model.get_submodule(parent), attribute, layer)
        self._emptied = True

    def put(self, matrix: CompressedMatrix) -> None:
        """Let the model run on a compressed matrix.

        Raises:
            UserError: if its shape is another one.
        """
        if self.shape != matrix.shape:
            raise UserError(
                f"the model's embedding is {self.shape}, the compressed one {matrix.shape}: compress it anew"
            )
        if not self._emptied:
            self.empty()
        for layer in self._layers.values():
            layer.matrix = matrix
