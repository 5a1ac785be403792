"""A table of a model that is not its input embedding, to be compressed from disk.

An example is the per-layer table of Gemma 3n, which has a row of all layers' values per token. The
dense table is never in the model: its layer is empty when the other weights are loaded, and the fit
reads the rows from the weights' file, block by block if the method supports streaming.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

import torch
from torch import Tensor
from transformers import PreTrainedModel

from ..data.found_counts import FoundCounts
from ..errors import UserError
from ..models.embedding import EmbeddingSlot, find_embedding
from ..models.pretrained import (
    WEIGHTS,
    find_model_class,
    find_special_ids,
    load_dense_model,
    open_tokenizer,
    read_config,
)
from ..models.tokenization import find_input_length
from ..numerics.matrices import FileMatrix, safetensors_matrix
from ..safetensors_header import read_header
from .exported_model import with_compressed_embedding
from .source import DenseSource, find_dense_model


@dataclass(frozen=True)
class RowTable(DenseSource):
    """A table whose rows are not the model's tokens: its counts are given by id, or all equal."""

    name: str = ""

    def _find_counts(
        self,
        counts: str | Path | Tensor | None,
        texts: Sequence[str | Path],
        progress: Callable[[str], None],
    ) -> FoundCounts:
        """Counts of the rows.

        Raises:
            UserError: if texts are given.
        """
        if texts:
            raise UserError(
                f"the rows of {self.name} are not the model's tokens: give --counts by row instead "
                "of --text"
            )
        if counts is None:
            return FoundCounts(torch.ones(self.n_counts), "none: all rows count alike")
        return super()._find_counts(counts, texts, progress)


def open_table_source(
    folder: Path, name: str, progress: Callable[[str], None] = lambda message: None
) -> DenseSource:
    """Open a transformers folder to compress one of its tables.

    Args:
        folder: see `open_dense_source`.
        name: of an embedding layer of the model.
        progress: called with messages about the tokenizer.

    Raises:
        UserError: if the folder contains no such model or table.
    """
    folder = find_dense_model(folder)
    config = read_config(folder)
    dense_class = find_model_class(config, folder)
    with torch.device("meta"):
        skeleton = dense_class(config)
    slot = EmbeddingSlot(skeleton, name)
    n_tokens = find_embedding(skeleton)[1].num_embeddings
    matrix, stored_name = _stored_table(folder, skeleton, slot)
    model = load_dense_model(
        folder,
        lambda kind: with_compressed_embedding(kind, slot.layer_names, name),
        without=stored_name,
    )
    tokenizer = open_tokenizer(folder, progress)
    rows = slot.shape[0]
    # Gemma 3n's per-layer table has rows of the first tokens only.
    per_layer_rows = getattr(config.get_text_config(), "vocab_size_per_layer_input", None)
    if rows not in (n_tokens, per_layer_rows):
        return RowTable(model, matrix, None, (), rows, name=name)
    special_ids = find_special_ids(folder, config, tokenizer, n_tokens)
    length = find_input_length(folder, tokenizer) if tokenizer is not None else None
    return DenseSource(model, matrix, tokenizer, special_ids, n_tokens, length)


def _stored_table(
    folder: Path, model: PreTrainedModel, slot: EmbeddingSlot
) -> tuple[FileMatrix, str]:
    """The dense table in a weights' file, and the name of its tensor.

    Raises:
        UserError: if no file has it under the name that the model's class gives it, with or without
            the prefix of the base model.
    """
    prefix = f"{model.base_model_prefix}."
    wanted = {f"{name}.weight" for name in slot.layer_names}
    wanted |= {name.removeprefix(prefix) for name in wanted} | {prefix + name for name in wanted}
    file = folder / WEIGHTS
    for path in [file] if file.is_file() else sorted(folder.glob("*.safetensors")):
        for name, tensor in read_header(path).tensors.items():
            if name in wanted and tensor.shape == slot.shape:
                return safetensors_matrix(path, name), name
    raise UserError(
        f"{folder} stores no matrix {slot.lookups[0]}.weight of shape {list(slot.shape)}: save the "
        "model with save_pretrained once"
    )
