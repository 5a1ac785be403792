"""Exported models: a transformers model with a compressed embedding as one folder.

    config.json, tokenizer files   as transformers writes them
    rest.safetensors               all weights but the embedding and the heads tied to it
    matrix.safetensors, .json      the compressed embedding, as `storage` writes it
    head/matrix.safetensors, .json the compressed output head, if it has a code of its own
    layers.safetensors, .json      compressed layers, where not the embedding alone is compressed;
                                   see `stored_layers`
    embpress.json                  the manifest: replaced layers, sizes before, SHA-256 of all files
    modules.json, 1_Pooling, ...   of a sentence-transformers model; see `sentence_modules`

The dense matrix is built neither when such a folder is written nor when its model runs. No file is
called model.safetensors, so that code that does not know embpress finds no weights instead of
initializing the embedding randomly with no more than a warning.
"""

import copy
import re
import shutil
from collections.abc import Iterable
from os import PathLike
from pathlib import Path
from typing import Any

import torch
from transformers import GenerationConfig, PreTrainedConfig, PreTrainedModel

from .. import __version__, storage
from ..errors import UserError
from ..files import merge_into_directory, read_json, sha256_of, summarize_error, write_json
from ..models.decoding import Decode, stored_matrix, with_decoding
from ..models.embedding import (
    OTHER_WEIGHTS,
    EmbeddingSlot,
    other_weights,
    write_other_weights,
)
from ..models.pretrained import CONFIG, GENERATION_CONFIG, find_model_class, read_config
from ..models.quiet import quiet_transformers
from .manifest import (
    HEAD,
    MANIFEST,
    MANIFEST_VERSION,
    About,
    Manifest,
    ReplacedLayers,
    invalid_model_error,
    read_manifest,
)
from .stored_layers import CodedWeights, load_weights, weight_shapes, write_coded_weights

TRAINER_CHECKPOINT = re.compile(r"checkpoint-\d+")
"""Names of the folders that transformers' Trainer saves a model to while it trains."""
TRAINER_INDEX = "model.safetensors.index.json"
"""File by which the Trainer finds the weights of a checkpoint."""


class CompressedEmbeddingMixin(PreTrainedModel):
    """Mixed into a model class of transformers: its embedding becomes an EmbeddingSlot."""

    tied_layers: frozenset[str]
    """Names of the layers on the compressed matrix. A config cannot say which these are: T5's is
    tied by its class, and a checkpoint with another head still is not."""
    table: str | None
    """Name of the embedding layer on the compressed matrix, if it is not the input embedding."""

    def __init__(self, config: PreTrainedConfig, *args: Any, **kwargs: Any) -> None:
        super().__init__(config, *args, **kwargs)
        # from_pretrained ties weights only after loading, when the slot has replaced the layers:
        # tie them now, which takes no memory.
        for target, source in self.all_tied_weights_keys.items():
            parent, _, name = target.rpartition(".")
            setattr(self.get_submodule(parent), name, self.get_parameter_or_buffer(source))
        self.embedding_slot = EmbeddingSlot(self, self.table)
        self.embedding_slot.remove_dense()
        self.embpress: About = {}
        removed = {f"{name}.weight" for name in self.embedding_slot.layer_names}
        ties = self.all_tied_weights_keys.items()
        self.all_tied_weights_keys = {k: v for k, v in ties if not removed & {k, v}}

    def tie_weights(
        self, missing_keys: set[str] | None = None, recompute_mapping: bool = True
    ) -> None:
        """Tie all tied weights but the embedding's, whose layers share one matrix already."""
        for target, source in list(self.all_tied_weights_keys.items()):
            layers = {name.removesuffix(".weight") for name in (target, source)}
            if len(layers & self.tied_layers) == 1:
                del self.all_tied_weights_keys[target]
        super().tie_weights(missing_keys, recompute_mapping=False)

    def save_pretrained(
        self, save_directory: str | PathLike[str], *args: Any, **kwargs: Any
    ) -> None:  # type: ignore[override]
        """Write the exported model with its current weights; the tokenizer is saved separately.

        Raises:
            UserError: if the folder contains a model of another kind, or an option is not
                supported.
        """
        folder = Path(save_directory)
        unsupported = [n for n in ("push_to_hub", "state_dict", "variant") if kwargs.get(n)]
        if unsupported or args:
            raise UserError(
                "a compressed model is saved whole, without "
                f"{', '.join(unsupported) or 'further arguments'}: leave it out"
            )
        dense = sorted(
            path.name for path in folder.glob("*model*.safetensors*") if path.name != TRAINER_INDEX
        )
        if dense:
            raise UserError(
                f"{folder} contains {dense[0]}, weights of another model: name another folder"
            )
        with merge_into_directory(folder, MANIFEST) as partial:
            write_exported_model(self, self.embedding_slot, self.embpress, partial)
            if TRAINER_CHECKPOINT.fullmatch(folder.name):
                _write_trainer_index(self, partial)

    def resize_token_embeddings(self, *args: Any, **kwargs: Any) -> Any:
        """Not supported: a compressed matrix has a fixed number of rows."""
        raise UserError(
            "a compressed embedding cannot be resized: resize the model first, then compress it"
        )


def with_compressed_embedding(
    model_class: type[PreTrainedModel], tied_layers: Iterable[str], table: str | None
) -> type[CompressedEmbeddingMixin]:
    """Mix CompressedEmbeddingMixin into a class of transformers.

    The class keeps its name, by which transformers selects losses.

    Args:
        model_class: the class of the dense model.
        tied_layers: names of the layers on the compressed matrix.
        table: name of the embedding layer, if it is not the input embedding.
    """
    bases = (CompressedEmbeddingMixin, model_class)
    attributes = {"__module__": model_class.__module__, "tied_layers": frozenset(tied_layers)}
    return type(model_class.__name__, bases, attributes | {"table": table})


def write_exported_model(
    model: PreTrainedModel,
    slot: EmbeddingSlot,
    about: About,
    folder: Path,
    files: list[Path] | None = None,
    layers: list[CodedWeights] | None = None,
) -> None:
    """Write a model that runs on a compressed matrix to a folder.

    Args:
        model: the model.
        slot: its embedding slot, with the matrix.
        about: JSON about the compression (method, sizes before, ...) that the manifest keeps.
        folder: an empty folder, or one whose files become a part of the exported model.
        files: further files to copy, such as the tokenizer's.
        layers: compressed layers; the weights that none codes are then stored in 16 bits.

    Raises:
        UserError: if `load` could not read what was written.
    """
    config = copy.deepcopy(model.config)
    config.architectures = [type(model).__name__]
    config.save_pretrained(folder)
    if model.can_generate() and getattr(model, "generation_config", None) is not None:
        # Its `save_pretrained` refuses values that its `from_pretrained` reads with a warning.
        model.generation_config.to_json_file(folder / GENERATION_CONFIG)
    if layers is None:
        write_other_weights(model, folder)
    else:
        write_coded_weights(model, layers, folder)
    storage.save(stored_matrix(slot.matrix), folder, about.get("made"))
    head = slot.own_head
    if head is not None:
        storage.save(stored_matrix(head), folder / HEAD, about.get("made"))
    for file in files or []:
        shutil.copyfile(file, folder / file.name)
    paths = sorted(path for path in folder.rglob("*") if path.is_file())
    hashes = {path.relative_to(folder).as_posix(): sha256_of(path) for path in paths}
    replaced = ReplacedLayers(shape=list(slot.shape), lookups=slot.lookups, heads=slot.heads)
    if head is not None:
        replaced["own_head"] = True
    if slot.table is not None:
        replaced["table"] = slot.table
    version = 1 if head is None else MANIFEST_VERSION
    manifest = Manifest(
        embpress=version, written_by=__version__, **about, replaced=replaced, sha256=hashes
    )
    write_json(folder / MANIFEST, manifest)
    _check_shapes(read_config(folder), replaced, folder)


def _write_trainer_index(model: PreTrainedModel, folder: Path) -> None:
    """Write the index by which transformers' Trainer resumes a run and loads the best model.

    It names the compressed matrix too, which training does not change, as the Trainer reports names
    that are missing. It has no `metadata`, without which `from_pretrained` raises instead of
    initializing the embedding randomly.
    """
    names = model.state_dict(keep_vars=True)
    write_json(folder / TRAINER_INDEX, {"weight_map": dict.fromkeys(names, OTHER_WEIGHTS)})


def load(folder: str | Path, decode: Decode = "rows") -> PreTrainedModel:
    """Load an exported model, which decodes the rows of a batch and never builds the dense matrix.

    Sizes in the headers of all files are compared before any memory is allocated.

    Args:
        folder: a folder that `compress_model` wrote.
        decode: `rows` decodes the rows of each batch. `cached` keeps the rows of the most
            frequent tokens decoded, at most 16,384 and half of them, which answer most lookups.
            `dense` decodes all rows now, which takes the memory of the dense matrix.

    Returns:
        A model of the class in transformers that the dense model has, in evaluation mode.

    Raises:
        UserError: if the folder contains no exported model, or one that is incomplete, altered,
            inconsistent or of a newer version.

    Example:
        >>> import embpress, torch
        >>> from transformers import BertConfig, BertModel
        >>> config = BertConfig(vocab_size=200, hidden_size=32, num_hidden_layers=1,
        ...                     num_attention_heads=2, intermediate_size=64)
        >>> BertModel(config).save_pretrained("dense")
        >>> summary = embpress.compress_model("dense", "compressed", method="svd", ratio=2)
        >>> model = embpress.load("compressed")
        >>> model(input_ids=torch.tensor([[5, 7, 7]])).last_hidden_state.shape
        torch.Size([1, 3, 32])
    """
    folder = Path(folder)
    manifest = read_manifest(folder)
    config = read_config(folder)
    model_class = _check_shapes(config, manifest["replaced"], folder)
    matrix = storage.load(folder)
    model = _build_model(model_class, config, folder)
    frequent = manifest.get("frequent", [])
    head = None
    if manifest["replaced"].get("own_head"):
        # A cache of rows serves lookups only.
        head = storage.load(folder / HEAD)
        head = with_decoding(head, "dense" if decode == "dense" else "rows", [], model.dtype)
    matrix = with_decoding(matrix, decode, frequent, model.dtype)
    model.embedding_slot.set_matrix(matrix, head)
    model.embpress["frequent"] = frequent
    if "made" in manifest:
        model.embpress["made"] = manifest["made"]
    if "before" in manifest:
        model.embpress["before"] = manifest["before"]
    return model.eval()


def _build_model(
    model_class: type[CompressedEmbeddingMixin], config: PreTrainedConfig, folder: Path
) -> CompressedEmbeddingMixin:
    """Build the model with all weights but the matrix.

    Raises:
        UserError: if transformers cannot load the files.
    """
    try:
        with quiet_transformers():
            loaded: Any = model_class.from_pretrained(
                None,
                config=config,
                state_dict=load_weights(folder),
                dtype=config.dtype or "auto",
                output_loading_info=True,
            )
            model, info = loaded
            if (folder / GENERATION_CONFIG).is_file():
                generation = GenerationConfig.from_pretrained(folder, local_files_only=True)
                model.generation_config = generation
        unplaced = info["missing_keys"] | info["unexpected_keys"]
        if unplaced:
            raise ValueError(f"transformers did not load {min(unplaced)}")
    # An invalid value in a config may fail in transformers with any exception.
    except Exception as error:
        raise invalid_model_error(folder, summarize_error(error)) from error
    return model


def _check_shapes(
    config: PreTrainedConfig, replaced: ReplacedLayers, folder: Path
) -> type[CompressedEmbeddingMixin]:
    """Build the model without allocating memory, and compare its layers and shapes with the files.

    Returns:
        The class of the model.

    Raises:
        UserError: with the first difference.
    """
    dense_class = find_model_class(config, folder)
    try:
        model_class = with_compressed_embedding(
            dense_class, [*replaced["lookups"], *replaced["heads"]], replaced.get("table")
        )
        with torch.device("meta"):
            skeleton = model_class(config)
        slot = skeleton.embedding_slot
        for part in [folder, folder / HEAD] if replaced.get("own_head") else [folder]:
            matrix_shape = read_json(part / storage.HEADER)["shape"]
            if list(slot.shape) != matrix_shape:
                raise ValueError(
                    f"{CONFIG} gives an embedding of {list(slot.shape)}, but the matrix has "
                    f"{matrix_shape}"
                )
        if (slot.lookups, slot.heads) != (replaced["lookups"], replaced["heads"]):
            raise ValueError(
                f"by {CONFIG} the matrix belongs at {', '.join(slot.layer_names)}, but {MANIFEST} "
                "names other layers"
            )
        stored = weight_shapes(folder)
        expected = {k: tuple(t.shape) for k, t in other_weights(skeleton).items()}
        for name in sorted(expected.keys() ^ stored.keys()):
            problem = "lacks" if name in expected else "has the unexpected weight"
            raise ValueError(f"{OTHER_WEIGHTS} {problem} {name}")
        for name, shape in expected.items():
            if stored[name] != shape:
                raise ValueError(f"{name} is {list(stored[name])}, but by {CONFIG} {list(shape)}")
    except UserError:
        raise
    # An invalid config may fail in the model's constructor with any exception.
    except Exception as error:
        raise invalid_model_error(folder, summarize_error(error)) from error
    return model_class
