"""Code all matrices of a checkpoint at once, and record size and error of each."""

import math
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from safetensors.torch import save_file
from transformers import PreTrainedModel, PreTrainedTokenizerBase

from .. import storage
from ..data.texts import read_texts
from ..data.token_counts import read_counts
from ..errors import InfeasibleRatio
from ..fidelity.record import RESULT, Fitted, Infeasible, MatrixRecord
from ..files import atomic_directory, write_json
from ..formats._base import CompressedMatrix
from ..methods._base import Context
from ..methods._layer_code import CodeOptions
from ..models.calibration import Calibration, calibrate, encode_texts, longest_text
from ..models.coded_weights import uncoded_weights
from ..models.compressed_model import StoredMatrix, write_matrix_list
from ..models.embedding import OTHER_WEIGHTS, find_embedding, other_weights
from ..models.loading import load_model
from ..models.tokenization import load_tokenizer
from ..models.whole_model_code import CodeError, WholeModelCode, code_model
from ..study.artefact import Artefact
from ..study.layer_kinds import EMBEDDING, OTHER, find_kinds, find_layer_matrices
from ..study.method_entry import FitSettings
from ..tasks import LabelledTask
from .layer_compression import TOKENS, sum_records

N_TEXTS = 1000
"""Texts of a corpus that are read for calibration."""


@dataclass(frozen=True)
class CalibrationInputs:
    """What the moments of a checkpoint's layers are taken on."""

    checkpoint: Path
    """Folder of a checkpoint with metadata."""
    head: str
    """Head with which the checkpoint is loaded."""
    task: LabelledTask[Any] | None = None
    """The task for which the checkpoint was fine-tuned, with its training rows."""
    texts: Path | None = None
    """Counted texts of a corpus, which calibrate a checkpoint that is not fine-tuned."""
    counts: Path | None = None
    """Token counts of that corpus."""


def compress_whole_model(
    inputs: CalibrationInputs,
    settings: FitSettings,
    artefact: Artefact,
    progress: Callable[[str], None],
    patterns: dict[str, str] | None = None,
) -> Fitted | Infeasible:
    """Code all matrices of a checkpoint at once, and write them with RESULT and all other weights.

    Args:
        inputs: the checkpoint and its calibration texts.
        settings: of a variant with `codes_whole_model`.
        artefact: the folder to write, the variant's name, the seed, and the target ratio of the
            whole model.
        progress: called with a line about every batch and level.
        patterns: names of the model's layers by kind, where they differ from
            `layer_kinds.PATTERNS`.

    Returns:
        The content of RESULT. A ratio that cannot be reached is a result, not an error.

    Raises:
        UserError: if a matrix cannot be coded.
    """
    options = CodeOptions.parse(settings.matrices[0].options)
    model = load_model(inputs.checkpoint, inputs.head)
    calibration = Calibration()
    if options.calibration:
        tokenizer = load_tokenizer(inputs.checkpoint)
        calibration = _calibrate(inputs, model, tokenizer, artefact.seed, progress)
    counts = read_counts(inputs.counts) if inputs.counts is not None else None
    context = Context(seed=artefact.seed, progress=progress)
    with atomic_directory(artefact.folder) as folder:
        result: Fitted | Infeasible
        try:
            code = code_model(model, artefact.ratio, calibration, counts, context, options)
        except InfeasibleRatio as reason:
            result = Infeasible(str(reason))
        else:
            about = {
                "method": settings.method,
                "options": settings.matrices[0].options,
                "ratio": artefact.ratio,
                "seed": artefact.seed,
            }
            matrices = _stored_matrices(model, code, patterns)
            for stored, matrix in matrices:
                storage.save(matrix, folder / stored.folder, about)
            write_matrix_list([stored for stored, _ in matrices], folder)
            _write_other_weights(model, code, folder)
            records = [
                _record(stored, matrix, code.errors[stored.folder], settings.method)
                for stored, matrix in matrices
            ]
            result = replace(sum_records(records), other_bits=code.other_bits)
        write_json(folder / RESULT, result.to_json())
    return result


def _calibrate(
    inputs: CalibrationInputs,
    model: PreTrainedModel,
    tokenizer: PreTrainedTokenizerBase,
    seed: int,
    progress: Callable[[str], None],
) -> Calibration:
    """Moments of the model's layers on training examples of the task, else on texts."""
    types = None
    if inputs.task is None:
        assert inputs.texts is not None
        texts = read_texts(inputs.texts)
        texts = texts[:: max(1, len(texts) // N_TEXTS)][:N_TEXTS]
        encoded = encode_texts(texts, tokenizer, longest_text(model), in_parts=True)
    else:
        rows = inputs.task.training_rows(tokenizer)
        encoded = _of_rows(rows, "input_ids")
        if "token_type_ids" in rows[0]:
            types = _of_rows(rows, "token_type_ids")
    return calibrate(
        model,
        encoded,
        token_types=types,
        mask_id=tokenizer.mask_token_id,
        seed=seed,
        progress=progress,
    )


def _of_rows(rows: list[dict[str, Any]], name: str) -> list[list[int]]:
    """An input of training rows; the choices of a row are texts of their own."""
    values = [row[name] for row in rows]
    is_choice = isinstance(values[0][0], list)
    return [choice for row in values for choice in row] if is_choice else values


def _stored_matrices(
    model: PreTrainedModel, code: WholeModelCode, patterns: dict[str, str] | None
) -> list[tuple[StoredMatrix, CompressedMatrix]]:
    """All matrices of a code, and how an artefact's list describes them."""
    base = model.base_model
    prefix = "" if base is model else f"{model.base_model_prefix}."
    names = [name for name, _ in base.named_modules()]
    known = find_layer_matrices(names, find_kinds(names, patterns), patterns)
    kinds = {layer.name: layer.kind for layer in known}
    stored = [(StoredMatrix(EMBEDDING, EMBEDDING), code.embedding)]
    for layer in code.layers:
        is_inside = layer.name.startswith(prefix)
        name = layer.name.removeprefix(prefix)
        kind = kinds.get(name, OTHER) if is_inside else OTHER
        stored.append((StoredMatrix(layer.name, kind, (name,)), layer.matrix))
    return stored


def _write_other_weights(model: PreTrainedModel, code: WholeModelCode, folder: Path) -> None:
    """Write all weights that are not coded, in 16 bits."""
    embedding = find_embedding(model)[1].weight
    weights = {
        name: weight for name, weight in other_weights(model).items() if weight is not embedding
    }
    save_file(
        uncoded_weights(weights, code.layers), folder / OTHER_WEIGHTS, metadata={"format": "pt"}
    )


def _record(
    stored: StoredMatrix, matrix: CompressedMatrix, error: CodeError, method: str
) -> MatrixRecord:
    """Sizes, error and operations for TOKENS tokens of one matrix.

    Matrices of kind OTHER, which are looked up or multiplied once a text, count no operations.
    """
    multiplies = stored.kind not in (EMBEDDING, OTHER)
    embedding_flops = matrix.decode_flops(TOKENS) if stored.kind == EMBEDDING else 0
    entries = math.prod(matrix.shape)
    return {
        "kind": stored.kind,
        "name": stored.folder,
        "method": method,
        "shape": list(matrix.shape),
        "matrices": 1,
        "dense_bits": 32 * entries,
        "bits": matrix.stored_bits,
        "floats": matrix.stored_floats,
        "ratio": matrix.ratio,
        "dense_flops": 2 * TOKENS * entries if multiplies else 0,
        "flops": matrix.product_flops(TOKENS) if multiplies else embedding_flops,
        "squared_error": error.squared_error,
        "energy": error.energy,
    }
