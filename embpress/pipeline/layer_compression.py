"""Compress chosen weight matrices of a checkpoint, and record size, error and cost of each."""

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import torch
from torch import Tensor
from transformers import PreTrainedModel

from .. import storage
from ..data.token_counts import read_counts
from ..errors import InfeasibleRatio
from ..fidelity.record import RESULT, Fitted, Infeasible, MatrixRecord
from ..files import atomic_directory, write_json
from ..formats._base import ROW_BLOCK, CompressedMatrix
from ..methods import compress, method_class
from ..methods._base import Context
from ..models.checkpoints import read_metadata
from ..models.compressed_model import RowRange, StoredMatrix, linear_weight, write_matrix_list
from ..models.embedding import find_embedding
from ..models.loading import load_model
from ..models.sensitivity_file import read_sensitivity
from ..study.artefact import Artefact
from ..study.layer_kinds import EMBEDDING, find_layer_matrices
from ..study.method_entry import FitSettings, MatrixSpec
from .bit_allocation import LayerBudget, allocate_ratios, matrix_bits
from .compression import FitInputs

TOKENS = 128
"""Tokens for which floating-point operations are counted: the length of the papers' inputs."""
SEED_STEP = 1_000_003
"""Difference of the seeds of two successive matrices, whose random factors must differ."""


class StackedMatrix(NamedTuple):
    """One matrix before its compression.

    The embedding's, that of a layer, or those of all layers of a kind, stacked.
    """

    part: StoredMatrix
    weights: list[Tensor]
    """(rows, d) each, of the same shape."""
    spec: MatrixSpec

    @property
    def shape(self) -> tuple[int, int]:
        """Shape of the stack."""
        return sum(len(weight) for weight in self.weights), self.weights[0].shape[1]


def compress_modules(
    inputs: FitInputs,
    settings: FitSettings,
    artefact: Artefact,
    progress: Callable[[str], None],
    patterns: dict[str, str] | None = None,
) -> Fitted | Infeasible:
    """Fit methods to a checkpoint's matrices, and write them with RESULT for `assembly.assemble`.

    Args:
        inputs: the files to read; the token counts are the embedding's.
        settings: of a variant that compresses layers.
        artefact: the folder to write, the variant's name, the seed, and the target ratio: of the
            compressed matrices together, or with `budget: model` of the whole model.
        progress: called with a line about every matrix.
        patterns: names of the model's layers by kind, where they differ from
            `layer_kinds.PATTERNS`.

    Returns:
        The content of RESULT. A ratio that cannot be reached is a result, not an error.

    Raises:
        UserError: if the model has no layer of a kind, or a matrix or an option cannot be used.
    """
    is_stacked = settings.share == "layers"
    matrices = _load_matrices(inputs.checkpoint, settings.matrices, is_stacked, patterns)
    parameters = read_metadata(inputs.checkpoint)["parameters"]
    with atomic_directory(artefact.folder) as folder:
        result: Fitted | Infeasible
        try:
            ratios = _allocate(matrices, artefact.ratio, parameters, settings.budget)
        except InfeasibleRatio as reason:
            result = Infeasible(str(reason))
        else:
            records = []
            for number, (matrix, ratio) in enumerate(zip(matrices, ratios)):
                progress(f"matrix {number + 1}/{len(matrices)}: {matrix.part.folder}")
                context = _fit_context(matrix, inputs, artefact.seed + SEED_STEP * number)
                records.append(_fit(matrix, ratio, context, folder))
            write_matrix_list([matrix.part for matrix in matrices], folder)
            result = sum_records(records)
        write_json(folder / RESULT, result.to_json())
    return result


def _load_matrices(
    checkpoint: Path, specs: Sequence[MatrixSpec], is_stacked: bool, patterns: dict[str, str] | None
) -> list[StackedMatrix]:
    """The matrices of a checkpoint, kind by kind and layer by layer."""
    model = load_model(checkpoint, "encoder")
    matrices = []
    for spec in specs:
        if spec.kind == EMBEDDING:
            weight = find_embedding(model)[1].weight.detach()
            matrices.append(StackedMatrix(StoredMatrix(EMBEDDING, EMBEDDING), [weight], spec))
        else:
            matrices += _load_layers(model, spec, is_stacked, patterns)
    return matrices


def _load_layers(
    model: PreTrainedModel, spec: MatrixSpec, is_stacked: bool, patterns: dict[str, str] | None
) -> list[StackedMatrix]:
    """The matrices of one kind of layer, a matrix a layer or all layers in one."""
    names = [name for name, _ in model.named_modules()]
    layers = find_layer_matrices(names, [spec.kind], patterns)
    weights = [
        linear_weight(model.get_submodule(layer.name), layer.name).detach().float()
        for layer in layers
    ]
    if is_stacked:
        part = StoredMatrix(spec.kind, spec.kind, tuple(layer.name for layer in layers))
        return [StackedMatrix(part, weights, spec)]
    return [
        StackedMatrix(
            StoredMatrix(f"{spec.kind}-{layer.layer}", spec.kind, (layer.name,)), [weight], spec
        )
        for layer, weight in zip(layers, weights)
    ]


def _method_options(spec: MatrixSpec) -> dict[str, Any]:
    """Options of a method, over its defaults for linear layers."""
    defaults = {} if spec.kind == EMBEDDING else method_class(spec.method).linear_defaults
    return defaults | spec.options


def _allocate(
    matrices: list[StackedMatrix], ratio: float, parameters: int, budget: str
) -> list[float]:
    """A ratio for each matrix, at which all together keep the budget."""
    methods = {
        m.spec.kind: method_class(m.spec.method)(**_method_options(m.spec)) for m in matrices
    }
    layers = [
        LayerBudget(m.part.folder, m.shape, methods[m.spec.kind], m.spec.ratio) for m in matrices
    ]
    dense = sum(layer.dense_bits for layer in layers)
    others = 32 * parameters - dense if budget == "model" else 0
    return allocate_ratios(layers, matrix_bits(ratio, dense, others))


def _fit_context(matrix: StackedMatrix, inputs: FitInputs, seed: int) -> Context:
    """What the fit of one matrix may use: a layer's rows are no tokens and have equal counts."""
    rows = matrix.shape[0]
    context = Context(torch.ones(rows, dtype=torch.int64), seed=seed, device=inputs.device)
    if matrix.part.kind == EMBEDDING:
        context.counts = read_counts(inputs.counts)
        context.special_ids = tuple(read_metadata(inputs.checkpoint)["special_ids"])
    if inputs.sensitivity:
        context.sensitivity = read_sensitivity(inputs.sensitivity, rows, matrix.part.layers)
    return context


def _fit(matrix: StackedMatrix, ratio: float, context: Context, folder: Path) -> MatrixRecord:
    """Fit one matrix, and write it into an artefact's folder."""
    spec = matrix.spec
    dense = torch.cat(matrix.weights)
    compressed = compress(dense, spec.method, ratio, context, **_method_options(spec))
    settings = {
        "method": spec.method,
        "options": spec.options,
        "ratio": ratio,
        "seed": context.seed,
    }
    storage.save(compressed, folder / matrix.part.folder, settings)
    return _record(matrix, dense, compressed)


def _record(matrix: StackedMatrix, dense: Tensor, compressed: CompressedMatrix) -> MatrixRecord:
    """Sizes, error and operations for TOKENS tokens of one matrix."""
    n_layers = len(matrix.part.layers)
    rows = matrix.shape[0]
    if matrix.part.kind == EMBEDDING:
        dense_flops = 0
        flops = compressed.decode_flops(TOKENS)
    else:
        of_layer = compressed if n_layers == 1 else RowRange(compressed, 0, rows // n_layers)
        dense_flops = 2 * TOKENS * dense.numel()
        flops = n_layers * of_layer.product_flops(TOKENS)
    blocks = torch.arange(rows).split(ROW_BLOCK)
    error = sum(
        float((dense[ids] - compressed.rows(ids)).double().square().sum()) for ids in blocks
    )
    return {
        "kind": matrix.part.kind,
        "name": matrix.part.folder,
        "method": matrix.spec.method,
        "shape": list(matrix.shape),
        "matrices": max(1, n_layers),
        "dense_bits": 32 * dense.numel(),
        "bits": compressed.stored_bits,
        "floats": compressed.stored_floats,
        "ratio": compressed.ratio,
        "dense_flops": dense_flops,
        "flops": flops,
        "squared_error": error,
        "energy": float(dense.double().square().sum()),
    }


def sum_records(records: list[MatrixRecord]) -> Fitted:
    """The matrices of an artefact, and their sums."""
    bits = sum(record["bits"] for record in records)
    dense_bits = sum(record["dense_bits"] for record in records)
    floats = [record["floats"] for record in records]
    of_embedding = [record for record in records if record["kind"] == EMBEDDING]
    return Fitted(
        stored_bits=bits,
        stored_floats=sum_or_none(floats),
        ratio=dense_bits / bits if bits else None,
        dense_floats=dense_bits // 32,
        dense_embedding_floats=sum(record["dense_bits"] // 32 for record in of_embedding),
        modules=records,
    )


def sum_or_none(values: list[int | None]) -> int | None:
    """Sum of numbers; None if any is None."""
    numbers = [value for value in values if value is not None]
    return sum(numbers) if len(numbers) == len(values) else None
