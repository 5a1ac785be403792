"""Compress all matrices of a transformers folder at one water level, and write an exported model.

ECTCQ's rule, one step for everything in units of the loss and a code by expected spread, for the
embedding, linear layers, untied heads, position and type tables: entropy-coded integers rounded
with feedback (`methods._layer_code`). Biases, norms and small matrices are stored in 16 bits.
Calibration texts give the second moments that weight all errors; without them, errors relative to
each matrix's variance count alike. Matrices are decoded once, when the model is loaded.
"""

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any, NamedTuple

from torch import Tensor
from transformers import PreTrainedModel

from ..errors import UserError
from ..files import output_folder, replace_directory, summarize_error
from ..methods import WHOLE_MODELS
from ..methods._base import check_ratio
from ..methods._code_options import CodeOptions
from ..models.calibration import Calibration, calibrate
from ..models.calibration_texts import encode_texts, longest_text
from ..models.coded_weights import CodedWeights, count_bits, uncoded_weights
from ..models.embedding import EmbeddingSlot, find_embedding, other_weights
from ..models.tokenization import check_vocabulary, load_tokenizer
from ..models.whole_model_code import bits_of_matrices, code_model
from .carried_files import find_carried_files
from .compress import check_beside, check_forward, check_lookup
from .exported_model import write_exported_model
from .manifest import MANIFEST, About, DenseSizes, FitRecord
from .model_source import locate_model
from .sentence_modules import copy_modules, find_transformer
from .source import SourceModel, open_dense_source

FLOAT_BITS = 32


@dataclass(frozen=True)
class CodedMatrix:
    """Size of one coded matrix."""

    name: str
    shape: tuple[int, int]
    bits: int
    """Bits of its code."""


@dataclass(frozen=True)
class WholeModelSummary:
    """Sizes of a model in bytes before and after compression, and the achieved ratio."""

    parameters: int
    model_before: int
    """In the dtypes of the model's weights; the ratio counts from float32 instead."""
    model_after: int
    """All stored tensors."""
    uncoded: int
    """Of these, weights that are not coded."""
    ratio: float
    """Dense fp32 bits of all parameters / bits of all stored tensors."""
    calibration_texts: int
    calibration_tokens: int
    out: Path
    matrices: list[CodedMatrix] = field(default_factory=list)

    def to_json(self) -> dict[str, Any]:
        """As plain JSON values."""
        return asdict(self) | {"out": str(self.out)}


def compress_whole_model(
    model: str | Path,
    out: str | Path,
    ratio: float,
    *,
    calibration: str | Path | Sequence[str] | None = None,
    counts: str | Path | Tensor | None = None,
    texts: Sequence[str | Path] = (),
    seed: int = 0,
    options: Mapping[str, object] | None = None,
    progress: Callable[[str], None] = lambda message: None,
) -> WholeModelSummary:
    """Compress all matrices of a transformers model, and write the model for `load`.

    Args:
        model: folder with config.json and safetensors weights, in one file or in shards, or the id
            of a model of the hub, `owner/name` or `owner/name@revision`.
        out: folder to write; an earlier exported model is replaced, anything else refused.
        ratio: dense fp32 bits of all parameters / bits of all stored tensors, at least.
        calibration: texts, or a file with a text a line, of the kind that the model will read;
            never the test's. Texts of more than 256 tokens are read in parts. Moments are taken on
            256 texts or parts, of 32,768 tokens at most; tokens are counted in all.
        counts: (V,) token counts or a file of them, which are averaged with those of all
            calibration texts. Without counts and texts, counts are those of `find_counts`.
        texts: text files to count tokens in, instead of `counts`.
        seed: seed of the fit.
        options: ingredients to leave out; see `methods._code_options.CodeOptions`.
        progress: called with messages about the fit.

    Returns:
        Sizes before and after, and the achieved ratio.

    Raises:
        UserError: if an argument cannot be used; nothing is written then.
        InfeasibleRatio: if the ratio cannot be reached.

    Example:
        >>> import embpress
        >>> from transformers import BertConfig, BertModel
        >>> config = BertConfig(vocab_size=200, hidden_size=32, num_hidden_layers=1,
        ...                     num_attention_heads=2, intermediate_size=64)
        >>> BertModel(config).save_pretrained("dense")
        >>> summary = embpress.compress_whole_model("dense", "compressed", ratio=4)
        >>> summary.ratio >= 4, type(embpress.load("compressed")).__name__
        (True, 'BertModel')
    """
    out = output_folder(out, MANIFEST)
    check_ratio(ratio)
    chosen = CodeOptions.parse(options or {})
    folder = locate_model(model)
    check_beside(out, folder)
    opened = open_whole_model(
        folder,
        calibration if chosen.calibration else None,
        counts,
        texts,
        (seed, progress),
        lambda dense: bits_of_matrices(dense, ratio),
    )
    source, found = opened.source, opened.calibration
    coded = code_model(source.model, ratio, found, source.context.counts, source.context, chosen)
    fit = FitRecord(
        method=WHOLE_MODELS,
        options={"matrices": "all", "calibration_texts": found.n_texts, **(options or {})},
        ratio=ratio,
        seed=seed,
        counts=True,
        counts_source=source.counts_source,
    )
    slot = EmbeddingSlot(source.model)
    slot.set_matrix(coded.embedding)
    check_forward(source.model)
    with replace_directory(out, MANIFEST) as partial:
        copy_modules(folder, partial)
        files = find_carried_files(find_transformer(folder))
        about = About(made=fit, before=opened.before)
        write_exported_model(source.model, slot, about, partial, files, coded.layers)
    return _summarize(opened, coded.layers, slot, out)


def measure_dense_sizes(model: PreTrainedModel) -> DenseSizes:
    """Sizes of a dense model in the dtypes of its weights."""
    embedding = find_embedding(model)[1].weight
    return DenseSizes(
        embedding=embedding.nbytes,
        model=count_bits(other_weights(model)) // 8,
        dtype=str(embedding.dtype).removeprefix("torch."),
    )


class OpenedModel(NamedTuple):
    """A dense model to code whole, in float32."""

    source: SourceModel
    before: DenseSizes
    """In the dtypes of its weights."""
    calibration: Calibration


def open_whole_model(
    folder: Path,
    calibration: str | Path | Sequence[str] | None,
    counts: str | Path | Tensor | None,
    texts: Sequence[str | Path],
    context: tuple[int, Callable[[str], None]],
    check: Callable[[PreTrainedModel], object],
) -> OpenedModel:
    """Open a folder to code it whole, and take the moments of its layers on calibration texts.

    Args:
        folder: of the model.
        calibration: see `compress_whole_model`.
        counts: see `compress_whole_model`.
        texts: see `compress_whole_model`.
        context: seed, and what is called with messages.
        check: called with the dense model before tokens are counted and texts are read by it;
            raises an error if the model cannot be coded to the size.

    Raises:
        UserError: if the model or the texts cannot be used.
    """
    calibration_texts = _read_texts(calibration)
    dense = open_dense_source(folder, context[1])
    check_lookup(find_embedding(dense.model)[1])
    before = measure_dense_sizes(dense.model)
    dense.model.float()
    check(dense.model)
    source = dense.count_tokens(counts, texts, *context)
    found = _calibrate(source, calibration_texts, folder) if calibration_texts else Calibration()
    return OpenedModel(source, before, found)


def _read_texts(calibration: str | Path | Sequence[str] | None) -> list[str]:
    """Calibration texts, or lines of a file of them; none without.

    Raises:
        UserError: if the file cannot be read or has no text.
    """
    if calibration is None:
        return []
    if isinstance(calibration, (str, Path)):
        try:
            texts = Path(calibration).read_text(encoding="utf-8").splitlines()
        except (OSError, ValueError) as error:
            raise UserError(
                f"{calibration} cannot be read as calibration texts ({summarize_error(error)}): "
                "give a UTF-8 file with a text a line"
            ) from error
    else:
        texts = list(calibration)
    texts = [text for text in texts if text.strip()]
    if not texts:
        raise UserError("there is no calibration text: give a file with a text a line")
    return texts


def _calibrate(source: SourceModel, texts: list[str], folder: Path) -> Calibration:
    """Moments of the model's layers on texts.

    Raises:
        UserError: if the folder has no tokenizer, or the model does not run on texts alone.
    """
    tokenizer = load_tokenizer(find_transformer(folder))
    check_vocabulary(tokenizer, folder)
    encoded = encode_texts(texts, tokenizer, longest_text(source.model), in_parts=True)
    context = source.context
    try:
        return calibrate(
            source.model,
            encoded,
            mask_id=tokenizer.mask_token_id,
            seed=context.seed,
            progress=context.progress,
        )
    except UserError:
        raise
    except Exception as error:  # a model that needs images fails with any exception
        raise UserError(
            f"{type(source.model).__name__} does not run on the calibration texts "
            f"({summarize_error(error)}): leave them out"
        ) from error


def _summarize(
    opened: OpenedModel,
    layers: list[CodedWeights],
    slot: EmbeddingSlot,
    out: Path,
) -> WholeModelSummary:
    """Sizes of a model that runs on its compressed embedding."""
    source = opened.source
    rest = count_bits(uncoded_weights(other_weights(source.model), layers))
    matrices = [CodedMatrix("embedding", slot.matrix.shape, slot.matrix.stored_bits)]
    matrices += [CodedMatrix(c.name, c.matrix.shape, c.matrix.stored_bits) for c in layers]
    bits = rest + sum(matrix.bits for matrix in matrices)
    parameters = math.prod(source.shape) + sum(p.numel() for p in source.model.parameters())
    return WholeModelSummary(
        parameters=parameters,
        model_before=opened.before["model"],
        model_after=bits // 8,
        uncoded=rest // 8,
        ratio=FLOAT_BITS * parameters / bits,
        calibration_texts=opened.calibration.n_texts,
        calibration_tokens=opened.calibration.n_tokens,
        out=out,
        matrices=matrices,
    )
