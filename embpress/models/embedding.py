"""The layers of a model that use its input embedding: find them, and replace its matrix."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import save_file
from torch import Tensor, nn
from transformers import PreTrainedModel
from transformers.pytorch_utils import Conv1D

from ..errors import UserError
from ..files import write_json
from ..formats._base import CompressedMatrix
from .checkpoints import METADATA_FILE

OTHER_WEIGHTS = "rest.safetensors"
"""File of all weights of a model but its compressed matrices."""


def find_embedding(model: PreTrainedModel) -> tuple[str, nn.Embedding]:
    """Find the input embedding: the name of its weight in the state dict, and the layer.

    That of a model of text and images is the embedding of its text model.

    Raises:
        UserError: if the model has none.
    """
    inputs = [
        layer
        for part in model.modules()
        if isinstance(part, PreTrainedModel) and (layer := _input_layer(part)) is not None
    ]
    embedding = next((layer for layer in inputs if isinstance(layer, nn.Embedding)), None)
    for name, module in model.named_modules():
        if module is embedding and embedding is not None:
            return f"{name}.weight", embedding
    for layer in inputs:
        weight = getattr(layer, "weight", None)
        if isinstance(weight, Tensor) and weight.ndim == 2:
            raise _not_a_plain_lookup(type(layer))
    reads = f", but reads its inputs by a {type(inputs[0]).__name__}" if inputs else ""
    raise UserError(
        f"{type(model).__name__} has no input embedding of tokens{reads}: there is nothing to "
        "compress"
    )


def find_table(model: PreTrainedModel, name: str | None) -> nn.Embedding:
    """The embedding layer of a name, with or without `.weight`; None means the input embedding.

    Raises:
        UserError: if there is no such layer.
    """
    if name is None:
        return find_embedding(model)[1]
    tables = {n: m for n, m in model.named_modules() if isinstance(m, nn.Embedding)}
    layer = tables.get(name.removesuffix(".weight"))
    if layer is None:
        raise UserError(
            f"{type(model).__name__} has no embedding layer {name!r}: name one of "
            f"{', '.join(tables)}"
        )
    return layer


def _input_layer(model: PreTrainedModel) -> nn.Module | None:
    """The first layer of a model, or None if transformers does not know which it is."""
    try:
        return model.get_input_embeddings()
    except (NotImplementedError, AttributeError):
        return None


def _not_a_plain_lookup(layer_class: type[nn.Module]) -> UserError:
    """The error for an embedding of a class that computes more than a lookup."""
    return UserError(
        f"the embedding is a {layer_class.__name__}, which does more than look rows up: "
        "it cannot be compressed"
    )


def tied_head(model: PreTrainedModel) -> nn.Module | None:
    """The output head that shares the embedding's weight, or None."""
    head = model.get_output_embeddings()
    if head is not None and head.weight is find_embedding(model)[1].weight:
        return head
    return None


def untie_head(model: PreTrainedModel) -> None:
    """Give a tied output head a dense copy of the embedding, which compression leaves unchanged."""
    head = tied_head(model)
    if head is not None:
        model.config.tie_word_embeddings = False
        head.weight = nn.Parameter(find_embedding(model)[1].weight.detach().clone())


def write_metadata(
    model: PreTrainedModel, special_ids: list[int], folder: Path, source: Mapping[str, object]
) -> None:
    """Write the metadata of a checkpoint, which `checkpoints.read_metadata` reads.

    Args:
        model: the model that was saved to `folder`.
        special_ids: ids of its special tokens.
        folder: the checkpoint's folder.
        source: JSON about where the model comes from.
    """
    name, embedding = find_embedding(model)
    metadata = {
        "embedding": name,
        "shape": list(embedding.weight.shape),
        "tied_head": tied_head(model) is not None,
        "parameters": sum(p.numel() for p in model.parameters()),
        "special_ids": sorted(set(special_ids)),
        "source": source,
    }
    write_json(folder / METADATA_FILE, metadata)


class DenseWeightAccess(UserError):
    """Model code computes with the dense weight of a compressed layer."""


class DenseWeightPlaceholder(Tensor):
    """The weight of a compressed layer, of which model code may read shape, dtype and device.

    It holds no values.
    """

    @staticmethod
    def __new__(
        cls: type["DenseWeightPlaceholder"],
        shape: tuple[int, ...],
        dtype: torch.dtype,
        device: torch.device,
    ) -> "DenseWeightPlaceholder":
        """A placeholder for a dense weight."""
        make: Any = cls._make_wrapper_subclass  # type: ignore[attr-defined]
        return make(cls, shape, dtype=dtype, device=device)

    @classmethod
    def __torch_dispatch__(cls, *args: Any, **kwargs: Any) -> Any:
        """Refuse every computation.

        Raises:
            DenseWeightAccess: always.
        """
        raise DenseWeightAccess(
            "this model computes with its dense embedding matrix, which is never built from a "
            "compressed one: the model cannot be compressed"
        )


class _CompressedLayer(nn.Module):
    """Base class of lookup and linear layer: a replaceable matrix, and the dtype of the results.

    Args:
        matrix: the compressed matrix; None leaves the layer empty until a matrix is set.
        dense: the layer that this one replaces, whose dtype and shape it takes.
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
        # A buffer follows model.half() and model.to(...), as the weights of other layers do.
        self._dtype_marker: Tensor
        dtype = getattr(weight, "dtype", torch.float32)
        marker = torch.empty(0, dtype=dtype, device=getattr(weight, "device", None))
        self.register_buffer("_dtype_marker", marker, persistent=False)

    @property
    def device(self) -> torch.device:
        """The device on which the layer runs, and to which its matrix belongs."""
        return self._dtype_marker.device

    @property
    def compute_dtype(self) -> torch.dtype:
        """The dtype in which the model computes, to which decoded values are converted."""
        return self._dtype_marker.dtype

    def __getattr__(self, name: str) -> Any:
        if name == "weight":
            if "matrix" not in self._modules:
                # The initializers of transformers fill the weight of an empty layer and pad a bias
                # to its shape; a meta tensor takes no memory.
                return torch.empty(self.dense_shape, device="meta")
            return DenseWeightPlaceholder(self.dense_shape, self.compute_dtype, self.device)
        return super().__getattr__(name)


class CompressedEmbedding(_CompressedLayer):
    """Replaces `nn.Embedding`; see `CompressedMatrix.lookup`.

    Args:
        matrix: the compressed (V, d) matrix; None leaves the layer empty until a matrix is set.
        dense: the layer that this one replaces, whose dtype, padding id and scale it takes.
    """

    def __init__(self, matrix: CompressedMatrix | None, dense: nn.Embedding | None = None) -> None:
        super().__init__(matrix, dense)
        self.num_embeddings, self.embedding_dim = self.dense_shape
        self.padding_idx = None if dense is None else dense.padding_idx
        self.scale, self.scale_in_dtype = (1.0, False) if dense is None else lookup_scale(dense)

    def forward(self, ids: Tensor) -> Tensor:
        """Ids of any shape (...) to rows (..., d)."""
        rows = self.matrix.lookup(ids).to(self.compute_dtype)
        if self.scale != 1.0:
            rounded = torch.tensor(self.scale, dtype=rows.dtype)
            rows = rows * (rounded if self.scale_in_dtype else self.scale)
        return rows


class CompressedLinear(_CompressedLayer):
    """Replaces a linear layer, such as a tied output head, by a compressed (out, in) matrix.

    The layer may be GPT-2's Conv1D, whose dense weight is transposed.

    Args:
        matrix: the compressed matrix; None leaves the layer empty until a matrix is set.
        dense: the layer that this one replaces, whose dtype and bias it takes.
    """

    def __init__(
        self, matrix: CompressedMatrix | None, dense: nn.Linear | Conv1D | None = None
    ) -> None:
        super().__init__(matrix, dense)
        self.register_parameter("bias", None if dense is None else dense.bias)

    def forward(self, hidden: Tensor) -> Tensor:
        """(..., in) to (..., out)."""
        vectors = hidden.to(self.matrix.product_dtype)
        result = self.matrix.product(vectors).to(self.compute_dtype)
        return result if self.bias is None else result + self.bias


def other_weights(root: nn.Module) -> dict[str, Tensor]:
    """All weights and buffers of a model but compressed matrices, tied ones under one name only."""
    layers = [
        name
        for name, module in root.named_modules(remove_duplicate=False)
        if isinstance(module, _CompressedLayer)
    ]
    matrix_prefixes = tuple(f"{name}.matrix." for name in layers)
    weights: dict[str, Tensor] = {}
    seen: set[int] = set()
    for name, tensor in root.state_dict(keep_vars=True).items():
        if not name.startswith(matrix_prefixes) and id(tensor) not in seen:
            seen.add(id(tensor))
            weights[name] = tensor
    return weights


def write_other_weights(root: nn.Module, folder: Path) -> None:
    """Write `other_weights` to a folder."""
    weights = {name: tensor.detach().contiguous() for name, tensor in other_weights(root).items()}
    save_file(weights, folder / OTHER_WEIGHTS, metadata={"format": "pt"})


def lookup_scale(embedding: nn.Embedding) -> tuple[float, bool]:
    """The factor by which an embedding multiplies its rows, and whether the factor is first rounded
    to the dtype of the rows.

    Raises:
        UserError: if the layer does more than look rows up and scale them.
    """
    layer_class = type(embedding)
    scale = 1.0
    is_rounded = False
    is_supported = layer_class is nn.Embedding and embedding.max_norm is None
    if layer_class.__name__.endswith("ScaledWordEmbedding"):
        # In transformers, Gemma's layer keeps the factor beside a buffer in the rows' dtype, BART's
        # keeps the factor only.
        is_rounded = hasattr(embedding, "scalar_embed_scale")
        name = "scalar_embed_scale" if is_rounded else "embed_scale"
        factor: Any = getattr(embedding, name, None)
        if isinstance(factor, (int, float)):
            is_supported = True
            scale = float(factor)
    if not is_supported or [n for n, _ in embedding.named_parameters()] != ["weight"]:
        raise _not_a_plain_lookup(layer_class)
    return scale, is_rounded


class EmbeddingSlot:
    """All layers of a model that use the input embedding: lookups and tied output heads.

    Matrices can be set one after another.

    Args:
        model: the model.
        name: name of another embedding layer whose matrix is to be replaced, such as a table of
            one row per token and layer; None means the input embedding.

    Attributes:
        table: the name that was given.
        shape: (V, d) of the embedding.
        lookups: names of the embedding layers.
        heads: names of the output heads that are tied to them.
    """

    def __init__(self, model: PreTrainedModel, name: str | None = None) -> None:
        self.model = model
        self.table = name
        weight = find_table(model, name).weight
        self.shape = (weight.shape[0], weight.shape[1])
        self.lookups: list[str] = []
        self.heads: list[str] = []
        self._layers: dict[str, _CompressedLayer] = {}
        self._is_dense_removed = False
        layer_of_module: dict[int, _CompressedLayer] = {}
        for name, module in model.named_modules(remove_duplicate=False):
            if any(p is weight for p in module._parameters.values()):
                # A module that has two names stays one module.
                layer = layer_of_module.get(id(module)) or self._replacement(name, module)
                layer_of_module[id(module)] = layer
                self._layers[name] = layer
                names = self.lookups if isinstance(layer, CompressedEmbedding) else self.heads
                names.append(name)

    @property
    def layer_names(self) -> list[str]:
        """Names of all layers that run on the matrix."""
        return self.lookups + self.heads

    @property
    def matrix(self) -> CompressedMatrix:
        """The matrix that was set last."""
        return self._layers[self.lookups[0]].matrix

    @property
    def own_head(self) -> CompressedMatrix | None:
        """The matrix of the tied heads, or None if they run on that of the lookups."""
        head = self._layers[self.heads[0]].matrix if self.heads else None
        return None if head is self.matrix else head

    @staticmethod
    def _replacement(name: str, module: nn.Module) -> _CompressedLayer:
        """The empty layer that replaces a layer which uses the embedding."""
        if isinstance(module, nn.Embedding):
            return CompressedEmbedding(None, module)
        if isinstance(module, nn.Linear):
            return CompressedLinear(None, module)
        raise UserError(
            f"{name} shares the embedding's weight, but is a {type(module).__name__}, neither a "
            "lookup nor a linear head: the model cannot be compressed"
        )

    def check_heads(self) -> None:
        """Check that a head can have a matrix of its own.

        Raises:
            UserError: if no head is tied to the embedding.
        """
        if not self.heads:
            raise UserError(
                f"{type(self.model).__name__} has no output head that is tied to the embedding: "
                "leave out the code of the head"
            )

    def remove_dense(self) -> None:
        """Replace all layers by empty ones, so that none keeps the dense matrix."""
        for name, layer in self._layers.items():
            parent, _, attribute = name.rpartition(".")
            setattr(self.model.get_submodule(parent), attribute, layer)
        self._is_dense_removed = True

    def set_matrix(self, matrix: CompressedMatrix, head: CompressedMatrix | None = None) -> None:
        """Let the model run on a compressed (V, d) matrix, which moves to the model's device.

        Args:
            matrix: the matrix of the lookups.
            head: a matrix of the same shape for the tied heads; None means `matrix`.

        Raises:
            UserError: if a shape is not the embedding's, or there is no head for `head`.
        """
        for given in [matrix] if head is None else [matrix, head]:
            if self.shape != given.shape:
                raise UserError(
                    f"the model's embedding has shape {self.shape}, the compressed matrix "
                    f"{given.shape}: compress this model again"
                )
        if head is not None:
            self.check_heads()
        if not self._is_dense_removed:
            self.remove_dense()
        for name, layer in self._layers.items():
            own = head if name in self.heads else None
            layer.matrix = (own if own is not None else matrix).to(layer.device)
