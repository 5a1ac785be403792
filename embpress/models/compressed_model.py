"""Models that run on compressed matrices: of the embedding alone, or of linear layers too.

A folder of compressed matrices, which a study writes for a variant, ratio and seed, is either one
matrix folder with the embedding (see `storage`), or contains

    modules.json        which matrix replaces which layers
    NAME/               one matrix folder for each matrix: the embedding's, the weight of one linear
                        layer, or the weights of several layers, stacked row-wise

The folder of a student, which was trained further, and that of a model whose matrices are all coded
hold the model's other weights beside it:

    rest.safetensors    all weights but the compressed matrices
"""

from dataclasses import dataclass
from pathlib import Path

import torch
from safetensors.torch import load_file
from torch import Tensor, nn
from transformers import PreTrainedModel
from transformers.pytorch_utils import Conv1D

from .. import storage
from ..errors import UserError
from ..files import read_json, summarize_error, write_json
from ..formats._base import CompressedMatrix
from ..formats.dense import DenseRows
from ..study.layer_kinds import EMBEDDING, OTHER
from .embedding import OTHER_WEIGHTS, CompressedLinear, EmbeddingSlot

MATRIX_LIST = "modules.json"


@dataclass(frozen=True)
class StoredMatrix:
    """One entry of the matrix list."""

    folder: str
    """Name of the matrix folder, or "." where the embedding's is the only one."""
    kind: str
    """A member of `layer_kinds.KINDS`, or OTHER."""
    layers: tuple[str, ...] = ()
    """Names within the base model, or of a layer outside of it within the model, of the linear
    layers whose (out, in) weights are stacked row-wise; none for the embedding. Of kind OTHER it
    may also be an embedding table."""


def read_matrix_list(folder: Path) -> list[StoredMatrix]:
    """Read which matrices a folder of compressed matrices contains.

    Raises:
        UserError: if the list is invalid, or names folders outside of this one.
    """
    if not (folder / MATRIX_LIST).is_file():
        return [StoredMatrix(".", EMBEDDING)]
    try:
        entries = read_json(folder / MATRIX_LIST)["parts"]
        matrices = [StoredMatrix(e["folder"], e["kind"], tuple(e["places"])) for e in entries]
        for matrix in matrices:
            if Path(matrix.folder).name != matrix.folder or matrix.folder in ("", ".", ".."):
                raise ValueError(f"{matrix.folder!r} is not a plain folder name")
            if (matrix.kind == EMBEDDING) == bool(matrix.layers):
                raise ValueError(f"{matrix.folder} has the wrong number of layers")
    except (LookupError, TypeError, ValueError, OSError) as error:
        raise UserError(
            f"{folder} is not a valid folder of compressed matrices ({summarize_error(error)}): "
            "compress the model again"
        ) from error
    return matrices


def write_matrix_list(matrices: list[StoredMatrix], folder: Path) -> None:
    """Write the list that `read_matrix_list` reads."""
    entries = [{"folder": m.folder, "kind": m.kind, "places": m.layers} for m in matrices]
    write_json(folder / MATRIX_LIST, {"parts": entries})


class RowRange(CompressedMatrix):
    """Consecutive rows [start, stop) of a compressed matrix that several layers share.

    It stores no tensors of its own.
    """

    def __init__(self, stacked: CompressedMatrix, start: int, stop: int) -> None:
        super().__init__((stop - start, stacked.shape[1]))
        self.stacked = stacked
        self.start = start

    def rows(self, ids: Tensor) -> Tensor:
        """See base class."""
        return self.stacked.rows(ids + self.start)

    def product(self, x: Tensor) -> Tensor:
        """See base class."""
        stop = self.start + self.shape[0]
        return self.stacked.product_with(x, torch.arange(self.start, stop, device=x.device))

    def product_flops(self, n_vectors: int) -> int:
        """See base class."""
        return self.stacked.product_with_flops(n_vectors, self.shape[0])


class CompressedModel:
    """A model whose dense matrices are replaced by compressed ones.

    Several folders of compressed matrices of the same layers can be loaded one after another.

    Args:
        model: the uncompressed model.
        decode: run on matrices that are decoded when they are loaded. That takes the memory of the
            uncompressed model, and is faster for more than a few batches.
    """

    def __init__(self, model: PreTrainedModel, decode: bool = False) -> None:
        self.model = model
        self._decode = decode
        self._slot: EmbeddingSlot | None = None
        self.tables: list[Tensor] = []
        """Weights of embedding tables that hold decoded matrices, and are not trained."""

    def load_matrices(self, folder: Path) -> dict[str, CompressedMatrix]:
        """Load the matrices of a folder and let the model run on them.

        Returns:
            The compressed matrices by the names of their matrix folders, on the model's device.
            Layers that share one run on ranges of its rows.

        Raises:
            UserError: if the folder is invalid, or its matrices belong to a model of other layers
                or shapes.
        """
        matrices = {}
        for stored in read_matrix_list(folder):
            matrix = storage.load(folder / stored.folder).to(self.model.device)
            matrices[stored.folder] = matrix
            if stored.kind == EMBEDDING:
                self._slot = self._slot or EmbeddingSlot(self.model)
                self._slot.set_matrix(self._decoded(matrix))
                continue
            if stored.kind == OTHER and self._set_table(stored.layers[0], matrix):
                continue
            n_rows = matrix.shape[0] // len(stored.layers)
            for i, name in enumerate(stored.layers):
                is_shared = len(stored.layers) > 1
                rows = RowRange(matrix, i * n_rows, (i + 1) * n_rows) if is_shared else matrix
                self._set_layer_matrix(name, self._decoded(rows))
        return matrices

    def _decoded(self, matrix: CompressedMatrix) -> CompressedMatrix:
        """The matrix on which the model runs."""
        if not self._decode:
            return matrix
        # In the model's type: a conversion at each product would take longer than the product.
        return DenseRows(matrix.shape, matrix.dense(), self.model.dtype)

    def _set_layer_matrix(self, name: str, matrix: CompressedMatrix) -> None:
        """Let the linear layer `name` run on a compressed (out, in) matrix.

        Raises:
            UserError: if there is no such linear layer, or its weight has another shape.
        """
        owner, layer = find_layer(self.model, name)
        shape = (
            layer.dense_shape
            if isinstance(layer, CompressedLinear)
            else tuple(linear_weight(layer, name).shape)
        )
        _check_shape(name, shape, matrix)
        if not isinstance(layer, CompressedLinear):
            parent, _, attribute = name.rpartition(".")
            # linear_weight refused every layer that is not linear.
            layer = CompressedLinear(None, layer)  # type: ignore[arg-type]
            setattr(owner.get_submodule(parent), attribute, layer)
        layer.matrix = matrix

    def _set_table(self, name: str, matrix: CompressedMatrix) -> bool:
        """Copy a matrix into the embedding table `name`; returns whether it is one.

        Model code may read the weight of a table, as DeBERTa's does of relative positions.

        Raises:
            UserError: if there is no such layer, or its weight has another shape.
        """
        _, layer = find_layer(self.model, name)
        if type(layer) is not nn.Embedding:
            return False
        _check_shape(name, tuple(layer.weight.shape), matrix)
        layer.weight.requires_grad_(False).copy_(matrix.dense())
        self.tables.append(layer.weight)
        return True


def find_layer(model: PreTrainedModel, name: str) -> tuple[nn.Module, nn.Module]:
    """A layer of a list of matrices, and the base model or the model to which its name refers.

    Raises:
        UserError: if there is no such layer.
    """
    base = model.base_model
    for owner in (base, model):
        try:
            return owner, owner.get_submodule(name)
        except AttributeError:
            continue
    raise UserError(f"{type(base).__name__} has no layer {name}: compress this model again")


def _check_shape(name: str, shape: tuple[int, ...], matrix: CompressedMatrix) -> None:
    """Refuse a matrix of another shape than a layer's weight."""
    if shape != matrix.shape:
        raise UserError(
            f"{name} has shape {shape}, its compressed matrix {matrix.shape}: "
            "compress this model again"
        )


def linear_weight(layer: nn.Module, name: str) -> Tensor:
    """A view of the dense (out, in) weight of a linear layer.

    Raises:
        UserError: if the layer is not linear.
    """
    if isinstance(layer, Conv1D):
        return layer.weight.T
    if type(layer) is nn.Linear:
        return layer.weight
    raise UserError(
        f"{name} is a {type(layer).__name__}, not a linear layer: it cannot be compressed"
    )


def load_other_weights(root: nn.Module, folder: Path) -> None:
    """Load weights beside compressed matrices into a model on these matrices.

    Weights of a base model are loaded into that of a model with a head.

    Raises:
        UserError: if they belong to another model.
    """
    weights = load_file(folder / OTHER_WEIGHTS)
    if isinstance(root, PreTrainedModel) and weights.keys() <= root.base_model.state_dict().keys():
        root = root.base_model
    try:
        unexpected = root.load_state_dict(weights, strict=False).unexpected_keys
    except RuntimeError as error:  # other shapes
        raise UserError(
            f"{folder} holds weights of a model of another size: compress or train it again"
        ) from error
    if unexpected:
        raise UserError(
            f"{folder} holds weights of another model, such as {unexpected[0]}: compress or "
            "train it again"
        )
