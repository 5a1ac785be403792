"""The matrices of a dense model beside its embedding: linear layers and embedding tables."""

from typing import NamedTuple

from torch import Tensor, nn
from transformers import PreTrainedModel
from transformers.pytorch_utils import Conv1D

from .embedding import find_embedding

MIN_ENTRIES = 256
"""Smaller matrices take fewer bits in float16 than the exponents of a code."""


class DenseMatrix(NamedTuple):
    """A matrix of a model beside its embedding."""

    name: str
    """Name of the layer in the model."""
    parameter: nn.Parameter
    """The layer's weight, as the model stores it."""
    is_transposed: bool
    """Whether that is the transposed matrix, as of Conv1D."""
    is_table: bool
    """Whether the layer is an embedding table, not linear."""

    @property
    def weight(self) -> Tensor:
        """(n, d), a view: outputs by inputs of a linear layer, rows of a table."""
        return self.as_stored(self.parameter.detach())

    def as_stored(self, rows: Tensor) -> Tensor:
        """Rows (n, d) in the order in which the model stores them, or the inverse."""
        return rows.T if self.is_transposed else rows


def find_matrices(model: PreTrainedModel) -> list[DenseMatrix]:
    """All linear layers and embedding tables but the input embedding and what is tied to it.

    Layers of less than MIN_ENTRIES entries or of one row, and those whose weight another one
    shares, are left out.
    """
    seen = {id(find_embedding(model)[1].weight)}
    matrices = []
    for name, module in model.named_modules():
        is_transposed = isinstance(module, Conv1D)
        if not is_transposed and type(module) not in (nn.Linear, nn.Embedding):
            continue
        weight = module.get_parameter("weight")
        if id(weight) not in seen and weight.numel() >= MIN_ENTRIES:
            matrix = DenseMatrix(name, weight, is_transposed, isinstance(module, nn.Embedding))
            if len(matrix.weight) > 1:
                matrices.append(matrix)
        seen.add(id(weight))
    return matrices
