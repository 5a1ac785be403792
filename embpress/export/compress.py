"""Compress the embedding of a transformers folder and write an exported model."""

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn
from transformers import PreTrainedModel

from ..errors import UserError
from ..files import output_folder, replace_directory
from ..formats._base import CompressedMatrix
from ..formats.dense import DenseRows
from ..methods import TRIMMING, compress, method_class
from ..methods._base import check_ratio, check_shape
from ..models.decoding import most_frequent
from ..models.embedding import (
    CompressedEmbedding,
    DenseWeightAccess,
    find_embedding,
    other_weights,
)
from ..numerics.matrices import FileMatrix
from .carried_files import find_carried_files
from .choice import choose_method
from .exported_model import write_exported_model
from .head_code import parse_head_code
from .manifest import MANIFEST, About, DenseSizes, FitRecord
from .model_source import locate_model
from .sentence_modules import copy_modules, find_transformer
from .source import SourceModel, find_slot, open_dense_source
from .table_source import open_table_source
from .trimming import trim_vocabulary


@dataclass(frozen=True)
class Summary:
    """Sizes in bytes before and after compression, and the achieved ratio."""

    method: str
    shape: tuple[int, int]
    """(V, d) of the dense embedding."""
    n_rows: int
    """Rows of the compressed embedding, fewer than V after vocabulary trimming."""
    embedding_before: int
    """In the dtype of the model's weights; the ratio counts from float32 instead."""
    embedding_after: int
    """With the head's matrix, if it has one of its own."""
    head_after: int
    """Of these, bytes of the head's own matrix."""
    model_before: int
    model_after: int
    ratio: float
    """Dense fp32 bits of the embedding / stored bits."""
    counts_source: str
    """What the token counts of the fit were counted in."""
    out: Path

    def to_json(self) -> dict[str, Any]:
        """As plain JSON values."""
        return asdict(self) | {"shape": list(self.shape), "out": str(self.out)}


def compress_model(
    model: str | Path,
    out: str | Path,
    method: str | None = None,
    ratio: float = 10.0,
    *,
    counts: str | Path | Tensor | None = None,
    texts: Sequence[str | Path] = (),
    seed: int = 0,
    options: Mapping[str, object] | None = None,
    head: str | None = None,
    matrix: str | None = None,
    progress: Callable[[str], None] = lambda message: None,
) -> Summary:
    """Compress the embedding of a transformers model, and write the model for `load`.

    Args:
        model: folder with config.json and safetensors weights, in one file or in shards, or the id
            of a model of the hub, `owner/name` or `owner/name@revision`. Pooling, normalization,
            prompts and maximal length of a sentence-transformers folder are kept.
        out: folder to write; an earlier exported model is replaced, anything else refused.
        method: name of a method, or `vocabulary_trimming`, which trims the tokenizer too; None
            chooses the best for the ratio, see `choose_method`.
        ratio: dense fp32 bits of the embedding / bits to store, at least.
        counts: (V,) token counts or a file of them, for methods that weight rows by frequency.
            Without counts and texts, those of the package for the same vocabulary, or else a prior
            over the order of the vocabulary.
        texts: text files to count tokens in, instead of `counts`.
        seed: seed of the fit.
        options: options of the method.
        head: `METHOD@RATIO`, a code of its own for an output head that is tied to the embedding,
            such as a larger one, as each output depends on all of its rows. Both matrices are
            stored, and the achieved ratio counts both.
        matrix: name of another embedding layer to compress, such as a per-layer table of Gemma 3n;
            None means the input embedding. Its dense rows are read from the file and never in the
            model.
        progress: called with messages about the fit.

    Returns:
        Sizes before and after, and the achieved ratio.

    Raises:
        UserError: if an argument cannot be used; nothing is written then.
        InfeasibleRatio: if the method cannot reach the ratio.

    Example:
        >>> import embpress
        >>> from transformers import BertConfig, BertModel
        >>> config = BertConfig(vocab_size=200, hidden_size=32, num_hidden_layers=1,
        ...                     num_attention_heads=2, intermediate_size=64)
        >>> BertModel(config).save_pretrained("dense")
        >>> summary = embpress.compress_model("dense", "compressed", method="svd", ratio=2)
        >>> summary.shape, summary.ratio >= 2
        ((200, 32), True)
    """
    out = output_folder(out, MANIFEST)
    options = options or {}
    check_ratio(ratio)
    if method == TRIMMING:
        _check_trimming(options, head, matrix)
    elif method is not None:
        method_class(method)(**options)
    head_fit = None if head is None else parse_head_code(head)
    folder = locate_model(model)
    check_beside(out, folder)
    if matrix is None:
        dense = open_dense_source(folder, progress)
    else:
        dense = open_table_source(folder, matrix, progress)
    check_shape(dense.shape)
    if method is None:
        method = choose_method(dense.shape, ratio)
        progress(f"method: {method}, the best for ratio {ratio:g}")
    # Tokens are counted, and matrices fitted, after all that can be known to fail.
    if method != TRIMMING:
        method_class(method)(**options).plan(dense.shape, ratio)
    if head_fit is not None:
        find_slot(dense.model).check_heads()
        method_class(head_fit["method"])().plan(dense.shape, head_fit["ratio"])
    source = dense.count_tokens(counts, texts, seed, progress)
    fit = FitRecord(
        method=method,
        options=options,
        ratio=ratio,
        seed=seed,
        counts=True,
        counts_source=source.counts_source,
    )
    if head_fit is not None:
        fit["head"] = head_fit
    return _export(source, fit, folder, out)


def _check_trimming(options: Mapping[str, object], head: str | None, matrix: str | None) -> None:
    """Check that trimming gets no argument that it does not take.

    Raises:
        UserError: if it gets one.
    """
    if options:
        raise UserError(f"{TRIMMING} has no option {next(iter(options))!r}: leave it out")
    if head is not None:
        raise UserError(f"{TRIMMING} trims a tied head with the embedding: leave out its own code")
    if matrix is not None:
        raise UserError(f"{TRIMMING} trims the input embedding: leave out --matrix")


def check_beside(out: Path, folder: Path) -> None:
    """Check that an output is not in the folder of the model that it is made of.

    Raises:
        UserError: if it is.
    """
    if out.resolve().is_relative_to(folder.resolve()):
        raise UserError(f"{out} is in the model's folder {folder}: name a folder beside it")


def _export(source: SourceModel, fit: FitRecord, folder: Path, out: Path) -> Summary:
    """Compress the embedding of an open model, and write the exported model.

    Args:
        source: the dense model, which runs on the compressed matrix afterwards.
        fit: how to compress.
        folder: the model's folder, with its tokenizer.
        out: folder to write.
    """
    model = source.model
    if not isinstance(source.matrix, FileMatrix):
        check_lookup(find_embedding(model)[1])
    model_before = _weight_bytes(model.state_dict(keep_vars=True))
    model_before += source.matrix_bytes if isinstance(source.matrix, FileMatrix) else 0
    counts = source.context.counts
    trimmed = None
    if fit["method"] == TRIMMING:
        trimmed = trim_vocabulary(model, source.tokenizer, counts, fit["ratio"])
        counts = trimmed.counts
    slot = source.slot()
    compressed = trimmed.matrix if trimmed else _fit(source, fit)
    head = _fit_head(source, fit)
    slot.set_matrix(compressed, head)
    check_forward(model)
    dtype = str(source.dtype).removeprefix("torch.")
    before = DenseSizes(embedding=source.matrix_bytes, model=model_before, dtype=dtype)
    files = find_carried_files(find_transformer(folder))
    with replace_directory(out, MANIFEST) as partial:
        copy_modules(folder, partial)
        if trimmed:
            trimmed.tokenizer.save_pretrained(partial)
            files = trimmed.kept_files(files)
        frequent = [] if counts is None else most_frequent(counts)
        about = About(made=fit, before=before, frequent=frequent)
        write_exported_model(model, slot, about, partial, files)
    head_bits = head.stored_bits if head is not None else 0
    bits = compressed.stored_bits + head_bits
    return Summary(
        method=fit["method"],
        shape=source.shape,
        n_rows=compressed.shape[0],
        embedding_before=source.matrix_bytes,
        embedding_after=bits // 8,
        head_after=head_bits // 8,
        model_before=model_before,
        model_after=bits // 8 + _weight_bytes(other_weights(model)),
        ratio=32 * math.prod(source.shape) / bits,
        counts_source=source.counts_source,
        out=out,
    )


def _fit(source: SourceModel, fit: FitRecord) -> CompressedMatrix:
    """The compressed embedding of an open model."""
    return compress(source.matrix, fit["method"], fit["ratio"], source.context, **fit["options"])


def _fit_head(source: SourceModel, fit: FitRecord) -> CompressedMatrix | None:
    """The head's own matrix, or None if it has none."""
    if "head" not in fit:
        return None
    head = fit["head"]
    return compress(source.matrix, head["method"], head["ratio"], source.context)


def check_lookup(dense: nn.Embedding) -> None:
    """Compare a model's own lookup with CompressedEmbedding on the first rows of the dense matrix.

    Raises:
        UserError: if they differ.
    """
    rows = dense.weight.detach()[:8]
    replacement = CompressedEmbedding(None, dense)
    replacement.matrix = DenseRows((rows.shape[0], rows.shape[1]), rows)
    ids = torch.arange(len(rows))
    if not torch.allclose(dense(ids), replacement(ids), rtol=0, atol=0, equal_nan=True):
        raise UserError(
            f"the embedding is a {type(dense).__name__}, which does more than look rows up and "
            "scale them: it cannot be compressed"
        )


def check_forward(model: PreTrainedModel) -> None:
    """Run a compressed model on two tokens, to find code that reads the dense embedding matrix.

    Raises:
        UserError: if the model reads it.
    """
    try:
        with torch.no_grad():
            model(input_ids=torch.tensor([[0, 1]]))
    except DenseWeightAccess:
        raise
    except Exception:  # such as of a model that needs images or decoder inputs too
        return


def _weight_bytes(weights: dict[str, Tensor]) -> int:
    """Bytes of weights and buffers, tied ones counted once."""
    return sum(tensor.nbytes for tensor in {id(t): t for t in weights.values()}.values())
