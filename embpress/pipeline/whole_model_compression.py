"""Code all matrices of a checkpoint at once, and record size and error of each."""

import math
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path

from safetensors.torch import save_file
from transformers import PreTrainedModel

from .. import storage
from ..data.token_counts import read_counts
from ..errors import InfeasibleRatio
from ..fidelity.record import RESULT, Fitted, Infeasible, MatrixRecord
from ..files import atomic_directory, write_json
from ..formats._base import CompressedMatrix
from ..methods._base import Context
from ..methods._code_options import CodeOptions
from ..models.calibration import Calibration
from ..models.calibration_file import read_calibration
from ..models.coded_weights import uncoded_weights
from ..models.compressed_model import StoredMatrix, write_matrix_list
from ..models.embedding import OTHER_WEIGHTS, find_embedding, other_weights
from ..models.loading import load_model
from ..models.whole_model_code import CodeError, WholeModelCode, code_model
from ..study.artefact import Artefact
from ..study.layer_kinds import EMBEDDING, OTHER, find_kinds, find_layer_matrices
from ..study.method_entry import FitSettings
from .layer_compression import TOKENS, sum_records


@dataclass(frozen=True)
class CodeInputs:
    """What a code of all matrices is fitted to."""

    checkpoint: Path
    """Folder of a checkpoint with metadata."""
    head: str
    """Head with which the checkpoint is loaded."""
    calibration: Path | None = None
    """Calibration of the checkpoint (see `calibration_file`); none for a code without data."""
    counts: Path | None = None
    """Token counts of the checkpoint's corpus, beside those of the calibration texts; none for a
    code without data."""


def compress_whole_model(
    inputs: CodeInputs,
    settings: FitSettings,
    artefact: Artefact,
    progress: Callable[[str], None],
    patterns: dict[str, str] | None = None,
) -> Fitted | Infeasible:
    """Code all matrices of a checkpoint at once, and write them with RESULT and all other weights.

    Args:
        inputs: the checkpoint and its calibration.
        settings: of a variant with `codes_whole_model`.
        artefact: the folder to write, the variant's name, the seed, and the target ratio of the
            whole model.
        progress: called with a line about every level.
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
    if options.calibration and inputs.calibration is not None:
        calibration = read_calibration(inputs.calibration)
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
