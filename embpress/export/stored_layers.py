"""Compressed layers of an exported model: two files beside those of the embedding.

    layers.json          which weights each matrix replaces, and the header of each (see `storage`)
    layers.safetensors   the stored tensors of each matrix, packed into one

Layers are decoded once, when the model is loaded: the model then has dense linear layers, at the
dense model's speed. Not a file of models whose embedding alone is compressed.
"""

from dataclasses import dataclass
from pathlib import Path
from typing import Any

from safetensors.torch import load_file, save_file
from torch import Tensor, nn

from .. import storage
from ..errors import UserError
from ..files import read_json, summarize_error, write_json
from ..models.coded_weights import CodedWeights, uncoded_weights
from ..models.embedding import OTHER_WEIGHTS, other_weights
from ..safetensors_header import read_header

LAYER_LIST = "layers.json"
LAYER_TENSORS = "layers.safetensors"


@dataclass(frozen=True)
class StoredLayer:
    """What the list says about one matrix."""

    name: str
    weights: tuple[str, ...]
    is_transposed: bool
    header: dict[str, Any]

    @property
    def shape(self) -> tuple[int, int]:
        """Shape of the stack."""
        n, d = self.header["shape"]
        return int(n), int(d)

    @property
    def weight_shape(self) -> tuple[int, int]:
        """Shape of each weight in the model."""
        n, d = self.shape[0] // len(self.weights), self.shape[1]
        return (d, n) if self.is_transposed else (n, d)


def write_coded_weights(model: nn.Module, layers: list[CodedWeights], folder: Path) -> None:
    """Write both files, and a model's other weights in 16 bits."""
    weights = uncoded_weights(other_weights(model), layers)
    save_file(weights, folder / OTHER_WEIGHTS, metadata={"format": "pt"})
    packed = {layer.name: storage.pack(layer.matrix) for layer in layers}
    save_file(packed, folder / LAYER_TENSORS, metadata={"format": "pt"})
    entries = [
        {
            "name": layer.name,
            "weights": layer.weights,
            "transposed": layer.is_transposed,
            "header": storage.describe(layer.matrix),
        }
        for layer in layers
    ]
    write_json(folder / LAYER_LIST, {"layers": entries})


def read_layer_list(folder: Path) -> list[StoredLayer]:
    """The compressed layers of an exported model; none if the embedding alone is compressed.

    Raises:
        UserError: if the list is invalid.
    """
    if not (folder / LAYER_LIST).is_file():
        return []
    try:
        layers = []
        for entry in read_json(folder / LAYER_LIST)["layers"]:
            header = entry["header"]
            layer = StoredLayer(
                entry["name"], tuple(entry["weights"]), bool(entry["transposed"]), header
            )
            if not layer.weights or layer.shape[0] % len(layer.weights):
                raise ValueError(f"{layer.name} has the wrong number of weights")
            layers.append(layer)
        stored = read_header(folder / LAYER_TENSORS).tensors
        if {layer.name for layer in layers} != stored.keys():
            raise ValueError(f"{LAYER_LIST} and {LAYER_TENSORS} have different matrices")
    except (LookupError, TypeError, ValueError, OSError) as error:
        raise _invalid(folder, error) from error
    return layers


def layers_header_bytes(folder: Path) -> int:
    """Bytes of both files beside the matrices."""
    return read_header(folder / LAYER_TENSORS).n_bytes + (folder / LAYER_LIST).stat().st_size


def weight_shapes(folder: Path) -> dict[str, tuple[int, ...]]:
    """Shapes of all weights of an exported model but the embedding, without loading them."""
    others = read_header(folder / OTHER_WEIGHTS).tensors
    shapes = {name: tensor.shape for name, tensor in others.items()}
    for layer in read_layer_list(folder):
        shapes |= dict.fromkeys(layer.weights, layer.weight_shape)
    return shapes


def load_weights(folder: Path) -> dict[str, Tensor]:
    """All weights of an exported model but the embedding; compressed ones are decoded.

    Raises:
        UserError: if a compressed layer is invalid.
    """
    weights = load_file(folder / OTHER_WEIGHTS)
    layers = read_layer_list(folder)
    packed = load_file(folder / LAYER_TENSORS) if layers else {}
    for layer in layers:
        try:
            dense = storage.unpack(layer.header, packed.pop(layer.name), folder).dense()
        except UserError:
            raise
        except (LookupError, TypeError, ValueError, RuntimeError) as error:
            raise _invalid(folder, error) from error
        for name, rows in zip(layer.weights, dense.chunk(len(layer.weights))):
            weights[name] = rows.T.contiguous() if layer.is_transposed else rows.contiguous()
    return weights


def _invalid(folder: Path, error: Exception) -> UserError:
    """The error for compressed layers that are damaged or inconsistent."""
    return UserError(
        f"{folder} is not a valid compressed model ({summarize_error(error)}): compress it again"
    )
