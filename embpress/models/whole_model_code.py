"""Code all matrices of a model at once, by their moments on calibration texts."""

from collections.abc import Mapping
from typing import NamedTuple

import torch
from torch import Tensor
from transformers import PreTrainedModel

from ..errors import InfeasibleRatio, UserError
from ..formats._base import CompressedMatrix
from ..methods._base import Context, checked_matrix
from ..methods._code_options import ALL, CodeOptions
from ..methods._gptq import code_with_gptq
from ..methods._layer_code import LayerCoder, Moments, mean_precision, plain_moments
from ..methods._water_level import code_matrices, equal_shares
from ..numerics.memory import malloc_trim
from ..numerics.weights import smooth_counts
from ..study.layer_kinds import EMBEDDING
from .calibration import Calibration
from .coded_weights import CodedWeights, count_bits, uncoded_weights
from .dense_matrices import DenseMatrix, find_matrices
from .drift_correction import code_in_order
from .embedding import EmbeddingSlot, find_embedding, other_weights
from .measured_importance import weigh_coders


def embedding_moments(
    model: PreTrainedModel, calibration: Calibration, counts: Tensor | None
) -> Moments:
    """Moments of the embedding, as a lookup and as a tied head.

    As a lookup a row counts by its uses, with the second moment of the gradient at looked-up rows;
    as a row of a tied head by the gradient of its logit, with that of the head's inputs. The sum of
    the two Kronecker products is replaced by one, of the sums of their factors.

    Args:
        model: the model.
        calibration: moments of its layers.
        counts: (V,) token counts; None takes those of the calibration texts alone.
    """
    slot = EmbeddingSlot(model)
    weight = find_embedding(model)[1].weight.detach()
    of_lookup = calibration.moments.get(slot.lookups[0])
    if of_lookup is None:
        plain = plain_moments(weight)
        return (
            plain
            if counts is None
            else plain._replace(outputs=plain.outputs * smooth_counts(counts))
        )
    uses = smooth_counts(calibration.token_counts)
    if counts is not None:
        uses = (uses + smooth_counts(counts)) / 2
    uses = uses / uses.sum() * calibration.n_tokens / calibration.n_texts
    parts = [of_lookup._replace(outputs=uses)]
    parts += [calibration.moments[head] for head in slot.heads if head in calibration.moments]
    columns = torch.stack([part.inputs.double() * part.outputs.mean() for part in parts])
    traces = torch.stack([moment.diagonal().mean() for moment in columns])
    rows = torch.stack([part.outputs.double() / part.outputs.mean() for part in parts])
    return Moments(columns.sum(0) / traces.sum(), traces @ rows)


def layer_moments(matrices: list[DenseMatrix], calibration: Calibration) -> list[Moments]:
    """Moments of each matrix.

    A matrix that no calibration text reached gets plain weights: its squared relative error is as
    important as that of the median matrix.
    """
    precisions = [
        mean_precision(matrix.weight, calibration.moments[matrix.name])
        for matrix in matrices
        if matrix.name in calibration.moments
    ]
    median = float(torch.tensor(precisions).median()) if precisions else 1.0
    return [
        calibration.moments.get(matrix.name) or plain_moments(matrix.weight, median)
        for matrix in matrices
    ]


def make_coders(
    model: PreTrainedModel,
    calibration: Calibration,
    counts: Tensor | None = None,
    options: CodeOptions = ALL,
) -> dict[str, LayerCoder]:
    """Coders of the embedding, under `layer_kinds.EMBEDDING`, and of all matrices by layer.

    Args:
        model: a float32 model on the CPU.
        calibration: moments of its layers; an empty one weights relative errors alike.
        counts: (V,) token counts, if any.
        options: ingredients to leave out.

    Raises:
        UserError: if a matrix cannot be coded, such as one with NaN.
    """
    weight = find_embedding(model)[1].weight.detach()
    checked_matrix(weight)
    moments = embedding_moments(model, calibration, counts)
    coders = {EMBEDDING: LayerCoder(weight, moments, options, has_mean=not options.gptq)}
    matrices = find_matrices(model)
    for matrix, own in zip(matrices, layer_moments(matrices, calibration)):
        try:
            checked_matrix(matrix.weight)
        except UserError as error:
            raise UserError(f"{matrix.name}: {error}") from error
        coders[matrix.name] = LayerCoder(matrix.weight, own, options)
    malloc_trim()
    return coders


def weighed_coders(
    model: PreTrainedModel,
    calibration: Calibration,
    counts: Tensor | None,
    options: CodeOptions,
    budget: int,
) -> dict[str, LayerCoder]:
    """As `make_coders`, with importances corrected by measured divergences."""
    coders = make_coders(model, calibration, counts, options)
    checks = calibration.checks if options.measured else []
    if checks:
        weigh_coders(model, coders, checks, budget)
    return coders


class CodeError(NamedTuple):
    """Squared error of a coded matrix, and sum of its squares."""

    squared_error: float
    energy: float

    @classmethod
    def measure(cls, dense: Tensor, code: CompressedMatrix) -> "CodeError":
        """Of a decoded matrix."""
        error = (dense - code.dense()).double().square().sum()
        return cls(float(error), float(dense.double().square().sum()))


class WholeModelCode(NamedTuple):
    """All matrices of a model, coded."""

    embedding: CompressedMatrix
    layers: list[CodedWeights]
    """Of all other matrices, by the name of their layer in the model."""
    errors: dict[str, CodeError]
    """Of the embedding, under `layer_kinds.EMBEDDING`, and of the layers by name."""
    other_bits: int
    """Bits of all weights that are not coded."""


def code_model(
    model: PreTrainedModel,
    ratio: float,
    calibration: Calibration,
    counts: Tensor | None,
    context: Context,
    options: CodeOptions = ALL,
) -> WholeModelCode:
    """Code all matrices of a model; its weights beside the embedding are then the decoded ones.

    Args:
        model: a float32 model on the CPU.
        ratio: dense fp32 bits of all parameters / bits of all stored tensors, at least.
        calibration: moments of its layers; an empty one weights relative errors alike.
        counts: (V,) token counts, if any.
        context: where progress is reported.
        options: ingredients to leave out.

    Raises:
        UserError: if a matrix cannot be coded, such as one with NaN.
        InfeasibleRatio: if the ratio cannot be reached.
    """
    matrices = find_matrices(model)
    other_bits = count_other_bits(model)
    budget = bits_of_matrices(model, ratio)
    coders = weighed_coders(model, calibration, counts, options, budget)
    if options.drift:
        shares = equal_shares(coders, budget)
        coded = code_in_order(model, coders, shares, calibration, context, options)
    else:
        coded = code_within(coders, budget, context, options)
    coders.clear()
    embedding = coded[EMBEDDING]
    embedding.prepare()
    errors = {EMBEDDING: CodeError.measure(find_embedding(model)[1].weight.detach(), embedding)}
    layers = []
    while matrices:
        matrix = matrices.pop(0)
        code = coded[matrix.name]
        code.prepare()
        errors[matrix.name] = CodeError.measure(matrix.weight, code)
        # Decoded rows take the place of the dense ones, which are then freed.
        matrix.parameter.data = matrix.as_stored(code.dense())
        name = f"{matrix.name}.weight"
        layers.append(CodedWeights(matrix.name, (name,), matrix.is_transposed, code))
    return WholeModelCode(embedding, layers, errors, other_bits)


def code_within(
    coders: Mapping[str, LayerCoder], budget: int, context: Context, options: CodeOptions
) -> dict[str, CompressedMatrix]:
    """Code matrices within a budget, by the code that options choose but for drift correction.

    Args:
        coders: coders of the matrices by name, of the same options.
        budget: bits of all codes together.
        context: where progress is reported.
        options: ingredients to leave out.

    Raises:
        InfeasibleRatio: if the codes do not fit the budget.
    """
    if options.gptq:
        return code_with_gptq(coders, budget)
    return code_matrices(coders, budget, context, options.one_level)


def bits_of_matrices(model: PreTrainedModel, ratio: float) -> int:
    """Bits that a ratio leaves for the codes of all matrices of a dense model.

    Raises:
        InfeasibleRatio: if it leaves none.
    """
    dense_bits = count_dense_bits(model)
    other_bits = count_other_bits(model)
    budget = int(dense_bits / ratio) - other_bits
    if budget <= 0:
        raise InfeasibleRatio(
            f"the weights that are not coded take {other_bits // 8} bytes: use a ratio below "
            f"{dense_bits / other_bits:.1f}"
        )
    return budget


def count_dense_bits(model: PreTrainedModel) -> int:
    """Bits of all parameters of a dense model in float32."""
    return 32 * model.num_parameters()


def count_other_bits(model: PreTrainedModel) -> int:
    """Bits of all weights of a dense model that a code of its matrices leaves, in 16 bits."""
    coded = {f"{matrix.name}.weight" for matrix in find_matrices(model)}
    embedding = find_embedding(model)[1].weight
    others = {
        name: weight
        for name, weight in other_weights(model).items()
        if weight is not embedding and name not in coded
    }
    return count_bits(uncoded_weights(others, []))
