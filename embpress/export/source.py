"""A dense model to compress: its weights, its embedding matrix, and what the fit needs."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

import torch
from torch import Tensor
from transformers import PreTrainedModel, PreTrainedTokenizerBase

from ..errors import UserError
from ..methods._base import Context
from ..models.embedding import EmbeddingSlot, find_embedding
from ..models.pretrained import find_special_ids, load_dense_model, open_tokenizer
from ..models.tokenization import find_input_length
from ..numerics.matrices import FileMatrix, Rows
from .choice import CountSource
from .exported_model import CompressedEmbeddingMixin
from .manifest import MANIFEST
from .sentence_modules import find_transformer


@dataclass(frozen=True)
class SourceModel:
    """A dense model to compress, and the context of the fit: token counts, special tokens, seed."""

    model: PreTrainedModel
    matrix: Rows
    """(V, d), in the dtype of the weights, or on disk."""
    context: Context
    counts_source: str
    """What the counts of the context were counted in."""
    tokenizer: PreTrainedTokenizerBase | None

    @property
    def shape(self) -> tuple[int, int]:
        """V and d."""
        return self.matrix.shape[0], self.matrix.shape[1]

    @property
    def dtype(self) -> torch.dtype:
        """Of the stored values."""
        return (
            self.matrix.stored_dtype if isinstance(self.matrix, FileMatrix) else self.matrix.dtype
        )

    @property
    def matrix_bytes(self) -> int:
        """Bytes of the dense matrix."""
        return self.shape[0] * self.shape[1] * self.dtype.itemsize

    def slot(self) -> EmbeddingSlot:
        """The layers that will run on the compressed matrix."""
        if isinstance(self.model, CompressedEmbeddingMixin):
            return self.model.embedding_slot
        return EmbeddingSlot(self.model)


def find_dense_model(folder: Path) -> Path:
    """The transformers folder of a model that is not compressed yet.

    Args:
        folder: in transformers' or sentence-transformers' layout.

    Raises:
        UserError: if the model is already compressed, or there is no transformers model.
    """
    if (folder / MANIFEST).is_file():
        raise UserError(f"{folder} is already compressed: compress the model that it was made from")
    return find_transformer(folder)


def open_source_model(
    folder: Path,
    counts: str | Path | Tensor | None = None,
    texts: Sequence[str | Path] = (),
    seed: int = 0,
    progress: Callable[[str], None] = lambda message: None,
) -> SourceModel:
    """Open a transformers folder for compression.

    Without counts and texts, counts are those of `find_counts`.

    Args:
        folder: folder with config.json and safetensors weights, in one file or in shards, or a
            sentence-transformers folder.
        counts: (V,) token counts or a file of them; see `counts_from_file`. Special tokens that the
            tokenizer adds to each input and that the counts lack are counted; see
            `with_special_tokens`.
        texts: text files to count tokens in, instead of `counts`; see `count_files`.
        seed: seed of the fit.
        progress: called with messages about the fit.

    Raises:
        UserError: if the folder contains no model that can be compressed, or the counts are those
            of another model.
    """
    folder = find_dense_model(folder)
    model = load_dense_model(folder)
    matrix = find_embedding(model)[1].weight.detach()
    tokenizer = open_tokenizer(folder, progress)
    special_ids = find_special_ids(folder, model.config, tokenizer, len(matrix))
    length = find_input_length(folder, tokenizer) if tokenizer is not None else None
    given = CountSource(counts, texts, tokenizer, len(matrix), special_ids, length)
    found = given.resolve(progress)
    progress(f"token counts: {found.source}")
    context = Context(counts=found.counts, special_ids=special_ids, seed=seed, progress=progress)
    return SourceModel(model, matrix, context, found.source, tokenizer)
