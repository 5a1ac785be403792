"""A whole model with a compressed embedding as one folder, written and run without ever building
the dense matrix.

    config.json, tokenizer files   as transformers writes them
    rest.safetensors               all weights but the embedding (and the heads tied to it)
    matrix.safetensors, .json      the compressed matrix, as `storage` writes it
    embpress.json                  what was replaced, sizes before, sha256 of the other files

The weights are not called model.safetensors: code that knows nothing of embpress finds no weights
in the folder, where it would else fill the embedding with random numbers and only warn.
"""

import copy
import shutil
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import load_file, save_file
from torch import Tensor
from transformers import GenerationConfig, PreTrainedConfig, PreTrainedModel

from .. import __version__, storage
from ..errors import UserError
from ..files import merged_folder, sha256_of, write_json
from ..models.embedding import EmbeddingSlot
from ..models.pretrained import CONFIG, class_of, config_of

VERSION = 1
ABOUT = "embpress.json"
REST = "rest.safetensors"
GENERATION = "generation_config.json"
READ = (CONFIG, REST, storage.TENSORS, storage.HEADER)
"""Files that an artefact cannot do without."""


class CompressedModel(PreTrainedModel):
    """Mixed into a class of transformers.

    The same model, whose embedding is a slot for a compressed matrix.
    """

    def __init__(self, config: PreTrainedConfig, *args: Any, **kwargs: Any) -> None:
        super().__init__(config, *args, **kwargs)
        # from_pretrained ties only after loading, when the slot has long taken its places: tie now,
        # which takes no memory.
        for target, source in self.all_tied_weights_keys.items():
            parent, _, name = target.rpartition(".")
            setattr(self.get_submodule(parent), name, self.get_parameter_or_buffer(source))
        self.embedding_slot = EmbeddingSlot(self)
        self.embedding_slot.empty()
        self.embpress: dict[str, Any] = {}
        gone = {f"{name}.weight" for name in self.embedding_slot.places}
        ties = self.all_tied_weights_keys.items()
        self.all_tied_weights_keys = {k: v for k, v in ties if not gone & {k, v}}

    def tie_weights(
        self, missing_keys: set[str] | None = None, recompute_mapping: bool = True
    ) -> None:
        """Tie what is tied apart from the embedding, whose users share one matrix anyway."""
        super().tie_weights(missing_keys, recompute_mapping=False)

    def save_pretrained(self, save_directory: Any, *args: Any, **kwargs: Any) -> None:  # type: ignore[override]
        """Write the artefact again, with the weights as they are now; the tokenizer is saved on its
        own, as ever.

        Raises:
            UserError: if the folder holds a model of another kind, or something is asked that is
                not offered.
        """
        folder = Path(save_directory)
        asked = [name for name in ("push_to_hub", "state_dict", "variant") if kwargs.get(name)]
        if asked or args:
            raise UserError(
                f"a compressed model is saved whole, without {', '.join(asked) or 'further arguments'}: leave it out"
            )
        dense = (
            sorted(path.name for path in folder.glob("*model*.safetensors*"))
            if folder.is_dir()
            else []
        )
        if dense:
            raise UserError(
                f"{folder} holds {dense[0]}, weights of another model: name another folder"
            )
        with merged_folder(folder, ABOUT) as partial:
            write(self, self.embedding_slot, self.embpress, partial)

    def resize_token_embeddings(self, *args: Any, **kwargs: Any) -> Any:
        """A compressed matrix has the rows that it was made from."""
        raise UserError(
            "a compressed embedding cannot be resized: resize the model first, then compress it"
        )


def compressed_class(kind: type[PreTrainedModel]) -> type[CompressedModel]:
    """The class of transformers with CompressedModel mixed in.

    It keeps its name, by which transformers picks losses.
    """
    return type(kind.__name__, (CompressedModel, kind), {"__module__": kind.__module__})


def rest_of(model: PreTrainedModel, slot: EmbeddingSlot) -> dict[str, Tensor]:
    """All weights of an emptied or compressed model but the matrix.

    What is tied stands under its first name.
    """
    inside = tuple(f"{name}.matrix." for name in slot.places)
    rest: dict[str, Tensor] = {}
    seen: set[int] = set()
    for name, tensor in model.state_dict(keep_vars=True).items():
        if not name.startswith(inside) and id(tensor) not in seen:
            seen.add(id(tensor))
            rest[name] = tensor
    return rest


def write(
    model: PreTrainedModel,
    slot: EmbeddingSlot,
    about: dict[str, Any],
    folder: Path,
    files: list[Path] | None = None,
) -> None:
    """Write a model that runs on a compressed matrix to an empty folder.

    Args:
        model: the model, its matrix in the slot.
        slot: where the matrix is.
        about: JSON about the making (method, sizes before, ...) to keep.
        folder: where to.
        files: further files to put in (the tokenizer's).
    """
    config = copy.deepcopy(model.config)
    config.architectures = [type(model).__name__]
    config.save_pretrained(folder)
    if model.can_generate() and getattr(model, "generation_config", None) is not None:
        model.generation_config.save_pretrained(folder)
    rest = {k: t.detach().contiguous() for k, t in rest_of(model, slot).items()}
    save_file(rest, folder / REST, metadata={"format": "pt"})
    storage.save(slot.matrix, folder, about.get("made", {}))
    for file in files or []:
        shutil.copyfile(file, folder / file.name)
    hashes = {path.name: sha256_of(path) for path in sorted(folder.iterdir())}
    places = {"shape": list(slot.shape), "lookups": slot.lookups, "heads": slot.heads}
    ours = {"embpress": VERSION, "written_by": __version__}
    write_json(folder / ABOUT, ours | about | {"replaced": places, "sha256": hashes})


def load(folder: str | Path) -> PreTrainedModel:
    """The transformers model of an artefact, which decodes the rows of a batch and never builds the
    dense matrix.

    Sizes are read from the files' headers and compared before anything is allocated.

    Raises:
        UserError: if the folder is no artefact, or one that is incomplete, altered, inconsistent or
            of a newer version.
    """
    folder = Path(folder)
    about = read_about(folder)
    config = config_of(folder)
    kind = compressed_class(class_of(config, folder))
    _check_places(kind, config, about, folder)
    matrix = storage.load(folder)
    loaded: Any = kind.from_pretrained(
        None,
        config=config,
        state_dict=load_file(folder / REST),
        dtype=config.dtype or "auto",
        output_loading_info=True,
    )
    model, info = loaded
    wrong = info["missing_keys"] | info["unexpected_keys"]
    if wrong:
        raise broken(folder, f"transformers did not place {min(wrong)}")
    if (folder / GENERATION).is_file():
        model.generation_config = GenerationConfig.from_pretrained(folder, local_files_only=True)
    model.embedding_slot.put(matrix)
    model.embpress = {
        k: v for k, v in about.items() if k not in ("replaced", "sha256", "embpress", "written_by")
    }
    return model.eval()


def read_about(folder: Path) -> dict[str, Any]:
    """ABOUT, after checking it and the sha256 of every file that it lists.

    Raises:
        UserError: if the folder is no artefact, or one that is incomplete, altered or of a newer
            version.
    """
    try:
        about = storage.read_json(folder / ABOUT)
        storage.check_version(about["embpress"], VERSION, folder)
        hashes = about["sha256"]
        places = about["replaced"]
        if not isinstance(hashes, dict) or not isinstance(places, dict):
            raise ValueError("`sha256` and `replaced` must be JSON objects")
        for name in READ:
            if name not in hashes:
                raise ValueError(f"{name} is not among its files")
        for name, digest in hashes.items():
            if Path(name).name != name or name in ("", ".", ".."):
                raise ValueError(f"{name!r} is no plain file name")
            if not (folder / name).is_file():
                raise ValueError(f"{name} is missing")
            if sha256_of(folder / name) != digest:
                raise ValueError(f"{name} was altered after it was written")
    except FileNotFoundError as error:
        raise UserError(f"{folder} is no compressed model: {ABOUT} is missing") from error
    except (KeyError, TypeError, ValueError, OSError) as error:
        raise broken(folder, storage.first_line(error)) from error
    return about


def broken(folder: Path, reason: str) -> UserError:
    """The error for an artefact that cannot be trusted."""
    return UserError(f"{folder} is not a whole compressed model ({reason}): compress it again")


def _check_places(
    kind: type[CompressedModel], config: PreTrainedConfig, about: dict[str, Any], folder: Path
) -> None:
    """Build the model without memory, and compare its places and the shapes of its weights with the
    files'.

    Raises:
        UserError: with the first that differs.
    """
    try:
        with torch.device("meta"):
            skeleton = kind(config)
        header = storage.read_json(folder / storage.HEADER)
        table = {k: shape for k, (shape, _) in storage.tensor_table(folder / REST).items()}
        slot = skeleton.embedding_slot
        places = about["replaced"]
        if list(slot.shape) != header["shape"]:
            raise ValueError(
                f"{CONFIG} wants an embedding of {list(slot.shape)}, the matrix is {header['shape']}"
            )
        if (slot.lookups, slot.heads) != (places["lookups"], places["heads"]):
            raise ValueError(
                f"{CONFIG} wants the matrix at {', '.join(slot.places)}, {ABOUT} names other places"
            )
        wanted = {k: tuple(t.shape) for k, t in rest_of(skeleton, slot).items()}
        for name in sorted(wanted.keys() ^ table.keys()):
            raise ValueError(f"{REST} {'lacks' if name in wanted else 'has a foreign'} {name}")
        for name, shape in wanted.items():
            if table[name] != shape:
                raise ValueError(f"{name} is {list(table[name])}, but {CONFIG} wants {list(shape)}")
    except UserError:
        raise
    # A config that lies fails in the model's constructor in any way.
    except Exception as error:
        raise broken(folder, storage.first_line(error)) from error
