"""Compressed matrices of a whole model, the weights that they replace, and the other weights."""

from dataclasses import dataclass

import torch
from torch import Tensor

from ..formats._base import CompressedMatrix

LARGEST_HALF = 65504.0
"""Largest value of float16."""


@dataclass(frozen=True)
class CodedWeights:
    """A compressed matrix and the dense weights that it replaces."""

    name: str
    """Key in the files of an exported model."""
    weights: tuple[str, ...]
    """Names of the weights in the model's state dict, stacked row-wise."""
    is_transposed: bool
    """Whether the model holds the transposed weights, as GPT-2's Conv1D does."""
    matrix: CompressedMatrix


def uncoded_weights(weights: dict[str, Tensor], layers: list[CodedWeights]) -> dict[str, Tensor]:
    """The weights that no compressed layer replaces, in at most 16 bits.

    Integers, and values beyond float16's range, keep their type.
    """
    coded = {name for layer in layers for name in layer.weights}
    return {
        name: _to_half(tensor.detach()).contiguous()
        for name, tensor in weights.items()
        if name not in coded
    }


def _to_half(tensor: Tensor) -> Tensor:
    """Weights in float16 if they fit."""
    is_wide = tensor.dtype in (torch.float32, torch.float64)
    fits = is_wide and (not tensor.numel() or float(tensor.abs().max()) <= LARGEST_HALF)
    return tensor.half() if fits else tensor


def count_bits(weights: dict[str, Tensor]) -> int:
    """Bits of weights."""
    return sum(8 * tensor.nbytes for tensor in weights.values())
