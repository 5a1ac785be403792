"""Put the compressed matrices of an artefact, the embedding's alone or those of whole layers, into
a dense model.

An artefact's folder holds one compressed matrix, the embedding's; or PARTS, a JSON list of what its
folders hold, and in each folder a compressed matrix: the embedding's, that of one linear layer, or
those of several layers one below the other.
"""

from dataclasses import asdict, dataclass
from pathlib import Path

import torch
from safetensors.torch import load_file, save_file
from torch import Tensor, nn
from transformers import PreTrainedModel
from transformers.pytorch_utils import Conv1D

from .. import storage
from ..errors import UserError
from ..files import write_json
from ..formats._base import CompressedMatrix
from ..study.layer_kinds import EMBEDDING
from .embedding import CompressedLinear, EmbeddingSlot

PARTS = "modules.json"


@dataclass(frozen=True)
class Part:
    """One stored matrix of an artefact."""

    folder: str
    """Within the artefact's."""
    kind: str
    """Among `modules.KINDS`."""
    places: tuple[str, ...] = ()
    """Linear layers within the base model, whose (out, in) matrices stand one below the other.

    None: embedding.
    """


def parts_of(artefact: Path) -> list[Part]:
    """What an artefact's folder holds.

    Raises:
        UserError: if its list is broken, or names folders elsewhere.
    """
    if not (artefact / PARTS).is_file():
        return [Part(".", EMBEDDING)]
    try:
        listed = storage.read_json(artefact / PARTS)["parts"]
        parts = [Part(part["folder"], part["kind"], tuple(part["places"])) for part in listed]
        for part in parts:
            if Path(part.folder).name != part.folder or part.folder in ("", ".", ".."):
                raise ValueError(f"{part.folder!r} is no plain folder name")
            if (part.kind == EMBEDDING) == bool(part.places):
                raise ValueError(f"{part.folder} has the wrong number of places")
    except (LookupError, TypeError, ValueError, OSError) as error:
        raise UserError(
            f"{artefact} is not a whole artefact ({storage.first_line(error)}): compress it again"
        ) from error
    return parts


def write_parts(parts: list[Part], artefact: Path) -> None:
    """Write the list that `parts_of` reads."""
    write_json(artefact / PARTS, {"parts": [asdict(part) for part in parts]})


class RowRange(CompressedMatrix):
    """Some consecutive rows of a compressed matrix that several layers share.

    Stores nothing of its own.
    """

    def __init__(self, whole: CompressedMatrix, start: int, stop: int) -> None:
        super().__init__((stop - start, whole.shape[1]))
        self.whole = whole
        self.start = start

    def rows(self, ids: Tensor) -> Tensor:
        """See base class."""
        return self.whole.rows(ids + self.start)

    def product(self, x: Tensor) -> Tensor:
        """See base class."""
        return self.whole.product_with(
            x, torch.arange(self.start, self.start + self.shape[0], device=x.device)
        )

    def product_flops(self, n_vectors: int) -> int:
        """See base class."""
        return self.whole.product_with_flops(n_vectors, self.shape[0])


class Assembly:
    """A dense model whose matrices give way to compressed ones.

    Artefacts of the same layers go in one after another.
    """

    def __init__(self, model: PreTrainedModel) -> None:
        self.model = model
        self._slot: EmbeddingSlot | None = None

    def put(self, artefact: Path) -> dict[str, CompressedMatrix]:
        """Let the model run on an artefact's matrices.

        Returns:
            The matrices by folder, each as it was loaded; layers that share one hold it as ranges
            of its rows.

        Raises:
            UserError: if the artefact is broken, or made from a model of other layers or shapes.
        """
        matrices = {}
        for part in parts_of(artefact):
            matrix = matrices[part.folder] = storage.load(artefact / part.folder)
            if part.kind == EMBEDDING:
                self._slot = self._slot or EmbeddingSlot(self.model)
                self._slot.put(matrix)
            else:
                self._put_layers(part, matrix)
        return matrices

    def _put_layers(self, part: Part, matrix: CompressedMatrix) -> None:
        """Put a matrix, or its ranges of rows, into linear layers."""
        n_rows = matrix.shape[0] // len(part.places)
        base = self.model.base_model
        for i, name in enumerate(part.places):
            of_layer = (
                matrix if len(part.places) == 1 else RowRange(matrix, i * n_rows, (i + 1) * n_rows)
            )
            try:
                layer = base.get_submodule(name)
            except AttributeError as error:
                raise UserError(
                    f"{type(base).__name__} has no layer {name}: compress this model anew"
                ) from error
            shape = (
                layer.dense_shape
                if isinstance(layer, CompressedLinear)
                else weight_of(layer, name).shape
            )
            if tuple(shape) != of_layer.shape:
                raise UserError(
                    f"{name} is {tuple(shape)}, the compressed one {of_layer.shape}: compress it anew"
                )
            if not isinstance(layer, CompressedLinear):
                parent, _, attribute = name.rpartition(".")
                layer = CompressedLinear(None, layer)  # type: ignore[arg-type]  # weight_of refused what is not linear
                setattr(base.get_submodule(parent), attribute, layer)
            layer.matrix = of_layer


def assemble(model: PreTrainedModel, artefact: Path) -> None:
    """Put all compressed matrices of an artefact into a dense model, in place of its own.

    Raises:
        UserError: if the artefact is broken, or made from a model of other layers or shapes.
    """
    Assembly(model).put(artefact)


def weight_of(layer: nn.Module, name: str) -> Tensor:
    """The dense (out, in) weight of a linear layer, a view.

    Raises:
        UserError: if the layer is none.
    """
    if isinstance(layer, Conv1D):
        return layer.weight.T
    if type(layer) is nn.Linear:
        return layer.weight
    raise UserError(
        f"{name} is a {type(layer).__name__}, not a linear layer: it cannot be compressed"
    )


UNCOMPRESSED_WEIGHTS_FILE = "rest.safetensors"
"""File in a student's folder with all weights of the model that are not compressed."""


def write_rest(root: nn.Module, folder: Path) -> None:
    """Write all weights of a model but the compressed matrices; what is tied is written once."""
    rest: dict[str, Tensor] = {}
    seen: set[int] = set()
    for name, tensor in root.state_dict(keep_vars=True).items():
        if ".matrix." not in name and id(tensor) not in seen:
            seen.add(id(tensor))
            rest[name] = tensor.detach().contiguous()
    save_file(rest, folder / UNCOMPRESSED_WEIGHTS_FILE, metadata={"format": "pt"})


def load_rest(root: nn.Module, folder: Path) -> None:
    """Give a model on a student's matrices the student's other weights.

    Raises:
        UserError: if they are of another model.
    """
    rest = load_file(folder / UNCOMPRESSED_WEIGHTS_FILE)
    try:
        foreign = root.load_state_dict(rest, strict=False).unexpected_keys
    except RuntimeError as error:  # shapes
        raise UserError(
            f"{folder} is a student of a model of another size: train it anew"
        ) from error
    if foreign:
        raise UserError(
            f"{folder} is a student of another model, with a weight {foreign[0]}: train it anew"
        )
