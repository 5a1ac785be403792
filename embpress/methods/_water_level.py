"""One water level for all matrices of a model, at which their codes together fill a budget.

At the least loss for a number of bits, a bit saves the same loss in every matrix. A layer's code at
level c accepts a squared error of `_layer_code.BIT_PRICE` c^2 for a bit; the embedding's code
(ECTCQ) does so if its weighted error per coordinate is c^2 / 12, the error of rounding at step c.
Its rate there is that of reverse water-filling over the products of row weights and variances of
principal components (Cover and Thomas, section 10.3.3), and the bits of rows and tables.
"""

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import NamedTuple

import torch
from torch import Tensor

from ..errors import InfeasibleRatio
from ..formats._base import CompressedMatrix
from ..formats.entropy_coded import NORM_BITS, TIER_BITS, EntropyCoded
from ..numerics.linalg import gram
from ._base import Context
from ._layer_code import LayerCoder
from .entropy_coded_trellis import BASIS_BITS, EntropyCodedTrellis

ROW_BITS = TIER_BITS + NORM_BITS + 8 + 8
"""Bits of a row of the embedding beside its indices: classes, length, and the coder's state."""
FILLED = 0.997
"""Least share of the budget to use."""
TRIALS = 10
"""Levels tried on all layers."""
BISECTIONS = 60
LOWEST, HIGHEST = -60.0, 60.0
"""Range of log2 of the water level."""


@dataclass(frozen=True)
class EmbeddingPart:
    """The embedding of a model."""

    matrix: Tensor
    """(V, d)"""
    importance: Tensor
    """(V,), importance of the squared error of each row's coordinates, in units of the loss."""


class CodedModel(NamedTuple):
    """Codes of all matrices at one water level."""

    embedding: CompressedMatrix | None
    layers: dict[str, CompressedMatrix]
    log_level: float
    """log2 of the water level c of the layers."""

    @property
    def stored_bits(self) -> int:
        """Bits of all codes."""
        matrices = [*self.layers.values(), *([self.embedding] if self.embedding else [])]
        return sum(matrix.stored_bits for matrix in matrices)


class EmbeddingRate:
    """Predicted bits of the embedding's code at a water level."""

    def __init__(self, part: EmbeddingPart) -> None:
        n_rows, d = part.matrix.shape
        mean = part.matrix.double().mean(0)
        covariance = gram(part.matrix.float()).div_(n_rows) - mean.outer(mean)
        self.spectrum = torch.linalg.eigvalsh(covariance).clamp_min(1e-30)
        # Rows of one tier have one step.
        tiers = (part.importance.double() / part.importance.min()).log2().round()
        tiers, self.times = tiers.clamp(0, 2**TIER_BITS - 1).unique(return_counts=True)
        self.weights = float(part.importance.min()) * tiers.exp2()
        self.fixed = EntropyCoded((n_rows, d), BASIS_BITS, 0).stored_bits + ROW_BITS * n_rows

    def bits(self, log_level: float) -> float:
        """Bits at log2 of a water level."""
        error = 4.0**log_level / 12
        rates = 0.5 * (self.weights[:, None] * self.spectrum / error).log2().clamp_min(0)
        return self.fixed + float(rates.sum(1) @ self.times.double())


def code_model(
    embedding: EmbeddingPart | None,
    layers: Mapping[str, LayerCoder],
    budget: int,
    context: Context,
) -> CodedModel:
    """Code all matrices of a model at one water level.

    Args:
        embedding: the embedding, if it is compressed.
        layers: coders of the other matrices by name.
        budget: bits of all codes together.
        context: seed and progress.

    Raises:
        InfeasibleRatio: if the codes do not fit the budget at any level.
    """
    rate = EmbeddingRate(embedding) if embedding else None

    def predicted(log_level: float) -> float:
        of_layers = sum(coder.predicted_bits(log_level) for coder in layers.values())
        return of_layers + (rate.bits(log_level) if rate else 0)

    log_level = _falling_root(lambda level: predicted(level) - budget)
    coded: CompressedMatrix | None = None
    if embedding and rate:
        # The prediction errs for layers of low rates: one real rounding corrects the level.
        measured = sum(coder.estimate_bits(log_level) for coder in layers.values())
        missing = sum(coder.predicted_bits(log_level) for coder in layers.values()) - measured
        log_level = _falling_root(lambda level: predicted(level) - missing - budget)
        coded = _code_embedding(embedding, rate.bits(log_level), context)
        budget -= coded.stored_bits
    if not layers:
        return CodedModel(coded, {}, log_level)
    return _fill(layers, budget, log_level, coded, context)


def _code_embedding(part: EmbeddingPart, bits: float, context: Context) -> CompressedMatrix:
    """ECTCQ's code of the embedding in so many bits."""
    n_rows, d = part.matrix.shape
    method = EntropyCodedTrellis(weighting="fisher")
    own = Context(seed=context.seed, progress=context.progress)
    own.sensitivity = {"fisher": part.importance.sqrt()}
    plan = method.plan((n_rows, d), max(1.0, 32 * n_rows * d / bits))
    compressed = method.fit(part.matrix.float(), plan, own)
    compressed.prepare()
    return compressed


def _fill(
    layers: Mapping[str, LayerCoder],
    budget: int,
    log_level: float,
    embedding: CompressedMatrix | None,
    context: Context,
) -> CodedModel:
    """Code the layers at the lowest level found whose bits keep the budget."""
    best: CodedModel | None = None
    for trial in range(TRIALS):
        codes: dict[str, CompressedMatrix] = {
            name: coder.encode(log_level) for name, coder in layers.items()
        }
        bits = sum(code.stored_bits for code in codes.values())
        context.progress(f"level {trial + 1}/{TRIALS}: {bits / budget:.4f} of the available bits")
        if bits <= budget and (best is None or log_level < best.log_level):
            best = CodedModel(embedding, codes, log_level)
        if FILLED * budget <= bits <= budget:
            break
        slope = sum(
            coder.predicted_bits(log_level - 0.05) - coder.predicted_bits(log_level + 0.05)
            for coder in layers.values()
        )
        aim = (1 + FILLED) / 2 * budget
        log_level += min(max(0.1 * (bits - aim) / max(slope, 1.0), -2.0), 2.0)
    if best is None:
        raise InfeasibleRatio(
            f"the layers do not fit into {max(budget, 0) // 8} bytes: use a lower ratio"
        )
    return best


def _falling_root(function: Callable[[float], float]) -> float:
    """Where a falling function of log2 of the level is 0, by bisection."""
    low, high = LOWEST, HIGHEST
    for _ in range(BISECTIONS):
        middle = (low + high) / 2
        if function(middle) > 0:
            low = middle
        else:
            high = middle
    return high
