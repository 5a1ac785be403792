"""A dense model to compress: its weights, its embedding matrix, and what the fit needs."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

import torch
from torch import Tensor
from transformers import PreTrainedModel, PreTrainedTokenizerBase

from ..data.found_counts import FoundCounts
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
class DenseSource:
    """A dense model to compress, before its tokens are counted, which may take long.

    So that what its shape excludes is refused first.
    """

    model: PreTrainedModel
    matrix: Rows
    """(V, d), in the dtype of the weights, or on disk."""
    tokenizer: PreTrainedTokenizerBase | None
    special_ids: tuple[int, ...]
    n_counts: int
    """Number of tokens that are counted; rows of the matrix are the first of them."""
    input_length: int | None = None
    """Number of tokens that the model reads at once; None for no limit."""

    @property
    def shape(self) -> tuple[int, int]:
        """V and d."""
        return self.matrix.shape[0], self.matrix.shape[1]

    def count_tokens(
        self,
        counts: str | Path | Tensor | None = None,
        texts: Sequence[str | Path] = (),
        seed: int = 0,
        progress: Callable[[str], None] = lambda message: None,
    ) -> "SourceModel":
        """Count the model's tokens; without counts and texts, counts are those of `find_counts`.

        Args:
            counts: (V,) token counts or a file of them; see `counts_from_file`. Special tokens that
                the tokenizer adds to each input and that the counts lack are counted; see
                `with_special_tokens`.
            texts: text files to count tokens in, instead of `counts`; see `count_files`.
            seed: seed of the fit.
            progress: called with messages about counts and fit.

        Raises:
            UserError: if the counts are those of another model, or the texts cannot be used.
        """
        found = self._find_counts(counts, texts, progress)
        progress(f"token counts: {found.source}")
        n_rows = self.shape[0]
        context = Context(
            counts=found.counts[:n_rows],
            special_ids=tuple(i for i in self.special_ids if i < n_rows),
            seed=seed,
            progress=progress,
        )
        return SourceModel(self.model, self.matrix, context, found.source, self.tokenizer)

    def _find_counts(
        self,
        counts: str | Path | Tensor | None,
        texts: Sequence[str | Path],
        progress: Callable[[str], None],
    ) -> FoundCounts:
        """Counts of all tokens, and where they are from."""
        given = CountSource(
            counts, texts, self.tokenizer, self.n_counts, self.special_ids, self.input_length
        )
        return given.resolve(progress)


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
        return find_slot(self.model)


def find_slot(model: PreTrainedModel) -> EmbeddingSlot:
    """The layers of a dense model that will run on the compressed matrix."""
    return (
        model.embedding_slot
        if isinstance(model, CompressedEmbeddingMixin)
        else EmbeddingSlot(model)
    )


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


def open_dense_source(
    folder: Path, progress: Callable[[str], None] = lambda message: None
) -> DenseSource:
    """Open a transformers folder for compression.

    Args:
        folder: folder with config.json and safetensors weights, in one file or in shards, or a
            sentence-transformers folder.
        progress: called with messages about the tokenizer.

    Raises:
        UserError: if the folder contains no model that can be compressed.
    """
    folder = find_dense_model(folder)
    model = load_dense_model(folder)
    matrix = find_embedding(model)[1].weight.detach()
    tokenizer = open_tokenizer(folder, progress)
    special_ids = find_special_ids(folder, model.config, tokenizer, len(matrix))
    length = find_input_length(folder, tokenizer) if tokenizer is not None else None
    return DenseSource(model, matrix, tokenizer, special_ids, len(matrix), length)
