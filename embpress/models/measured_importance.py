"""Importance of a model's matrices, corrected by the divergence that their codes cause.

Moments predict what small errors cost. At low rates errors are of the size of the weights, where
the loss is no longer the quadratic form of the moments: the divergence of the model with one coded
matrix was measured at .06 to 30 times the prediction, most where few bits are left.
"""

from collections.abc import Mapping

from transformers import PreTrainedModel

from ..methods._layer_code import LayerCoder
from ..methods._water_level import predict_level
from ..numerics.memory import malloc_trim
from ..study.layer_kinds import EMBEDDING
from .calibration_texts import TextBatch
from .dense_matrices import find_matrices
from .divergence import Change, measure_divergences
from .embedding import find_embedding

MEASUREMENTS = 2
"""Times that the importance of the embedding is measured."""
LARGEST_FACTOR = 64.0
"""Most that measurements multiply the embedding's importance by."""
LAYER_FACTORS = (0.25, 4.0)
"""Least and most that a measurement multiplies the importance of another matrix by."""
LAYER_POWER = 0.5
"""Power of measured / predicted divergence by which other matrices are weighed: few texts measure,
and the ratio falls as the matrix gets more bits."""
MOST_OPERATIONS = 1e13
"""Floating-point operations of the measurement of all layers, about two minutes of a core: larger
models, whose codes have more bits per weight at a useful quality, keep their predictions."""


def weigh_coders(
    model: PreTrainedModel, coders: Mapping[str, LayerCoder], checks: list[TextBatch], budget: int
) -> None:
    """Correct the importance of all matrices by the divergence that their codes cause.

    Args:
        model: the dense model, which is as before afterwards.
        coders: of the embedding, under `layer_kinds.EMBEDDING`, and of other matrices by layer.
        checks: texts on which the divergence is measured.
        budget: bits of all matrices together.
    """
    weigh_embedding(model, coders, checks, budget)
    if _count_operations(coders, checks) <= MOST_OPERATIONS:
        weigh_layers(model, coders, checks, budget)
    malloc_trim()


def _count_operations(coders: Mapping[str, LayerCoder], checks: list[TextBatch]) -> int:
    """Floating-point operations of a pass over the texts for each layer."""
    layers = [coder.weight.size for name, coder in coders.items() if name != EMBEDDING]
    n_tokens = sum(int(batch.mask.sum()) for batch in checks)
    return 2 * n_tokens * sum(layers) * len(layers)


def weigh_embedding(
    model: PreTrainedModel, coders: Mapping[str, LayerCoder], checks: list[TextBatch], budget: int
) -> float:
    """Correct the importance of the embedding by the divergence that its code causes.

    Moments understate it: a token's error is the same at all of its places. It is measured at the
    level that the budget gives, then once more at the level that follows.

    Args:
        model: see `weigh_coders`.
        coders: see `weigh_coders`; that of the embedding is changed.
        checks: see `weigh_coders`.
        budget: see `weigh_coders`.

    Returns:
        The factor.
    """
    coder = coders[EMBEDDING]
    weight = find_embedding(model)[1].weight
    total = 1.0
    for _ in range(MEASUREMENTS):
        code = coder.encode(predict_level(coders, budget))
        code.prepare()
        (measured,) = measure_divergences(model, checks, [Change(weight, code.dense())])
        factor = measured / max(coder.loss, 1e-30)
        factor = min(max(factor, 1 / total), LARGEST_FACTOR / total)
        coder.weigh(factor)
        total *= factor
    return total


def weigh_layers(
    model: PreTrainedModel, coders: Mapping[str, LayerCoder], checks: list[TextBatch], budget: int
) -> dict[str, float]:
    """Correct the importance of all matrices but the embedding, each coded alone.

    Args:
        model: see `weigh_coders`.
        coders: see `weigh_coders`; all but that of the embedding are changed.
        checks: see `weigh_coders`.
        budget: see `weigh_coders`.

    Returns:
        Factors by layer.
    """
    level = predict_level(coders, budget)
    changes = {}
    for matrix in find_matrices(model):
        code = coders[matrix.name].encode(level)
        code.prepare()
        changes[matrix.name] = Change(matrix.parameter, matrix.as_stored(code.dense()))
    measured = measure_divergences(model, checks, list(changes.values()))
    factors = {}
    for name, divergence in zip(changes, measured):
        factor = (max(divergence, 0.0) / max(coders[name].loss, 1e-30)) ** LAYER_POWER
        factors[name] = min(max(factor, LAYER_FACTORS[0]), LAYER_FACTORS[1])
        coders[name].weigh(factors[name])
    return factors
