"""Code of one matrix at a water level: grid by second moments, rounding with feedback.

An error dW of a layer's (n, d) weight changes the loss by about tr(G dW H dW^T) / 2, where H is the
second moment of the layer's inputs and G that of the gradient at its outputs (K-FAC's metric;
Martens and Grosse 2015). With the diagonal of G and the Cholesky factor L of H, the loss is least
at a rate if all rounding errors are equal in the whitened domain: the step of (i, j) is

    c / (L_jj sqrt(G_ii)),

with one water level c for all matrices of a model. Steps by column are WaterSIC's (arXiv
2603.04956), which has no G and a level for each matrix.

An embedding table is such a matrix too: row i, which token i reads, counts by the uses of the token
(its one-hot inputs have a diagonal second moment), and its columns by the second moment of the
gradient at the looked-up rows. Roles are exchanged: this moment feeds errors back and gives the
columns' steps, the uses give the rows'.
"""

import math
from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor

from ..formats.entropy_coded_integers import (
    LARGEST_EXPONENT,
    PER_OCTAVE,
    SHIFT_UNIT,
    EntropyCodedIntegers,
    GridScales,
    Level,
)
from ..numerics.compiled import compiled
from ..numerics.feedback import Grid, Rounded, round_with_feedback
from ..numerics.index_tables import CLASSES, UNIT, WIDTH, high_part, split_spread_class
from ..numerics.memory import malloc_trim
from ..numerics.trellis_feedback import path_levels, round_by_trellis
from ._code_options import ALL, CodeOptions
from ._entquant import mean_size, row_exponents

BIT_PRICE = 0.1155
"""Squared error, in squared steps, accepted to save a bit: 2 log 2 times that of rounding, 1/12."""
TRELLIS_BIT_PRICE = 0.37
"""The same with the trellis, in squared half steps (see `entropy_coded_trellis`)."""
INPUT_DAMPING = 1e-2
"""Share of the mean diagonal that is added to H, which a sample leaves nearly singular."""
OUTPUT_DAMPING = 1e-2
"""Share of the mean that is added to the diagonal of G."""
PRIOR = 20.0
"""Number of observations that the Laplace law counts as in the price of bits."""
SPREAD_PASSES = 3
"""Alternations that fit the spread of rows and columns."""
ROWS_A_BLOCK = 4096
"""Rows that are squared at once."""


class Moments(NamedTuple):
    """Second moments of a layer, over the tokens of calibration texts.

    Of an embedding table `inputs` is the (d, d) second moment of the gradient at its output, and
    `outputs` the (V,) uses of each row in a text.
    """

    inputs: Tensor
    """float (d, d), mean of x x^T."""
    outputs: Tensor
    """float (n,), mean squared gradient at each output (see `models.calibration`), summed over the
    tokens of a text."""

    def scaled(self, factor: float) -> "Moments":
        """The same with a multiple of the loss."""
        return Moments(self.inputs, self.outputs * factor)


def plain_moments(weight: Tensor, precision: float = 1.0) -> Moments:
    """Moments that weight all errors alike, relative to the variance of the weights.

    Args:
        weight: (n, d).
        precision: importance of the squared relative error.
    """
    n, d = weight.shape
    variance = weight.double().square().mean().clamp_min(1e-30)
    return Moments(torch.eye(d), torch.full((n,), precision / float(variance)))


def mean_precision(weight: Tensor, moments: Moments) -> float:
    """Mean importance of the squared relative errors of a weight's entries."""
    variance = float(weight.double().square().mean())
    return variance * float(moments.inputs.diagonal().mean() * moments.outputs.mean())


class LayerCoder:
    """Codes one matrix at any water level; spreads and prices carry over from call to call.

    Args:
        weight: (n, d).
        moments: of its inputs and outputs.
        options: what to leave out.
        has_mean: store the mean row, as embeddings have one, and code what is left.
    """

    def __init__(
        self,
        weight: Tensor,
        moments: Moments,
        options: CodeOptions = ALL,
        has_mean: bool = False,
    ) -> None:
        dense = weight.detach().float()
        self.mean = dense.mean(0).half() if has_mean else None
        if self.mean is not None:
            dense = dense - self.mean.float()
        self.weight = np.ascontiguousarray(dense.numpy())
        self.has_feedback = options.feedback
        self.is_entquant = options.entquant
        self.factor, diagonal = _damped_factor(moments.inputs)
        self.diagonal = diagonal.numpy()
        outputs = moments.outputs.double().clamp_min(0)
        outputs = outputs + (OUTPUT_DAMPING * outputs.mean()).clamp_min(1e-30)
        self.outputs = outputs.numpy()
        if not options.row_steps:
            outputs = outputs.mean().expand_as(outputs)
        columns = (
            diagonal if options.column_steps else diagonal.log().mean().exp().expand_as(diagonal)
        )
        self.row_step, row_base = _exponents(-0.5 * outputs.log2())
        self.column_step, column_base = _exponents(-columns.log2())
        self.base = row_base + column_base
        """log2 of the step of exponents 0 at level 1."""
        self.has_trellis = options.trellis
        quantizers = 2 if options.trellis else 1
        self.price = np.zeros((quantizers, CLASSES, WIDTH))
        if not self.is_entquant:
            self.price = _prices(self.price)
        self.shift = np.zeros(2 * quantizers, dtype=np.int8)
        self.row_deviation, self.column_deviation = _fit_deviations(
            self.weight, self._relative(self.row_step), self._relative(self.column_step)
        )
        self.loss = math.nan
        """Predicted increase of the model's loss by the last code, in nats: tr(G E H E^T) / 2."""
        self._is_fitted = False
        self._excess = 1.0  # of the last code's bits over those that were predicted

    def weigh(self, factor: float) -> None:
        """Count all errors by a multiple of their importance."""
        self.outputs = self.outputs * factor
        self.base -= 0.5 * math.log2(factor)

    def predicted_bits(self, log_level: float) -> float:
        """Bits at a water level, without rounding: as of a Gaussian matrix of these spreads.

        They are corrected by the bits of the last code.
        """
        deviation = np.log2(self.row_deviation) - self.row_step / PER_OCTAVE
        columns = np.log2(self.column_deviation) - self.column_step / PER_OCTAVE
        # Deviations of rows and columns in steps, by quarter octaves.
        rows, row_times = np.unique(np.round(PER_OCTAVE * deviation), return_counts=True)
        columns, column_times = np.unique(np.round(PER_OCTAVE * columns), return_counts=True)
        steps = (rows[:, None] + columns) / PER_OCTAVE - (log_level + self.base)
        rates = 0.5 * np.log2(1 + 12 * np.exp2(2 * steps.clip(-100, 100)))
        return self._excess * float(row_times @ rates @ column_times)

    @staticmethod
    def _relative(exponents: np.ndarray) -> np.ndarray:
        """Steps of exponents, relative to that of exponent 0."""
        return np.exp2(exponents / PER_OCTAVE)

    def encode(self, log_level: float) -> EntropyCodedIntegers:
        """Code the matrix at a water level.

        Args:
            log_level: log2 of the level c.
        """
        if not self._is_fitted:
            self._round(log_level)  # fits spreads, prices and shifts
        self._is_fitted = True
        coded = self._round(log_level)
        self._excess *= coded.stored_bits / max(self.predicted_bits(log_level), 1.0)
        malloc_trim()  # glibc keeps much of what smaller matrices have freed
        return coded

    def _round(self, log_level: float) -> EntropyCodedIntegers:
        """Round at a level, code it, and fit spreads, prices and shifts to it."""
        if self.is_entquant:
            exponents = row_exponents(self.weight, log_level)
            middle = int(np.median(exponents))
            self.row_step = (exponents - middle).clip(-LARGEST_EXPONENT, LARGEST_EXPONENT)
            self.base = math.log2(mean_size(self.weight)) + middle / PER_OCTAVE - log_level
        step = np.float32(2.0 ** (log_level + self.base))
        row_spread, row_base = _spread_exponents(self.row_deviation)
        column_spread, column_base = _spread_exponents(self.column_deviation)
        scales = GridScales(self.row_step, self.column_step, row_spread, column_spread)
        offset = UNIT + round(row_base + column_base - PER_OCTAVE * (log_level + self.base))
        grid = Grid(
            (step * self._relative(self.row_step)).astype(np.float32),
            self._relative(self.column_step).astype(np.float32),
            scales.row_class + offset,
            scales.column_class,
            self.shift.astype(np.float32) / SHIFT_UNIT,
            (BIT_PRICE * self.price[0]).astype(np.float32),
        )
        factor = self.factor if self.has_feedback else None
        if self.has_trellis:
            price = (TRELLIS_BIT_PRICE * self.price).astype(np.float32)
            rounded = round_by_trellis(self.weight, factor, grid._replace(price=price))
        else:
            rounded = round_with_feedback(self.weight, factor, grid)
        self.loss = self._loss_of(rounded)
        values, targets = rounded.values, rounded.targets
        del rounded  # frees the error
        level = Level(float(step), offset, self.shift)
        if not self.is_entquant:
            self._learn(values, targets, grid)
        self.row_deviation, self.column_deviation = _fit_deviations(
            targets, self._relative(self.row_step), self._relative(self.column_step)
        )
        return EntropyCodedIntegers.encode(values, scales, level, self.mean)

    def _learn(self, values: np.ndarray, targets: np.ndarray, grid: Grid) -> None:
        """Fit prices and shifts to the integers and targets of a rounded matrix: (n, d)."""
        shift = np.zeros_like(grid.shift)
        if self.has_trellis:
            levels, quantizers = path_levels(values, shift)
        else:
            levels = values.astype(np.float32)
            quantizers = np.zeros(levels.shape, dtype=np.uint8)
        counts, excess = _survey(values, targets, levels, quantizers, grid)
        self.price = _prices(counts[: len(self.price)])
        mean = (excess[0] / np.maximum(excess[1], 1))[: len(shift)]
        self.shift = np.clip(np.round(SHIFT_UNIT * mean), -64, 64).astype(np.int8)

    def expected_loss(self, decoded: Tensor) -> float:
        """As `loss`, of any approximation of the matrix: (n, d)."""
        mean = 0 if self.mean is None else self.mean.float().numpy()
        left = (self.weight + mean - decoded.numpy()) @ self.factor
        return self._weigh(left)

    def _loss_of(self, rounded: Rounded) -> float:
        """Predicted increase of the loss by a rounded matrix; see `loss`. Changes its error."""
        left = rounded.error
        if self.has_feedback:  # what feedback leaves of (W - W^) L is the error of the targets
            left += rounded.targets
            left -= self.weight
        else:
            left = left @ self.factor
        return self._weigh(left)

    def _weigh(self, left: np.ndarray) -> float:
        """Half the weighted sum of squares of (W - W^) L / diag(L): float32 (n, d)."""
        by_row = _squares_by_row(left, np.square(self.diagonal))
        return 0.5 * float(by_row @ self.outputs)


def _damped_factor(moment: Tensor) -> tuple[np.ndarray, Tensor]:
    """The Cholesky factor L of a second moment with damping, without its diagonal.

    Returns:
        float32 (d, d), L / diag(L) by column, and float64 (d,), diag(L).
    """
    damped = moment.double()
    added = max(INPUT_DAMPING * float(damped.diagonal().mean()), 1e-30)
    damped = damped + added * torch.eye(len(damped))
    lower = torch.linalg.cholesky(damped)
    diagonal = lower.diagonal().clone()
    return np.ascontiguousarray((lower / diagonal).float().numpy()), diagonal


def _exponents(logarithms: Tensor) -> tuple[np.ndarray, float]:
    """Quarter octaves about their median, and log2 of the step at exponent 0."""
    base = float(logarithms.median())
    exponents = (PER_OCTAVE * (logarithms - base)).round().long().numpy()
    return exponents.clip(-LARGEST_EXPONENT, LARGEST_EXPONENT), base


def _spread_exponents(deviation: np.ndarray) -> tuple[np.ndarray, int]:
    """Standard deviations in quarter octaves about their median, and that median."""
    logarithms = np.round(PER_OCTAVE * np.log2(np.maximum(deviation, 1e-30)))
    median = int(np.median(logarithms))
    return (logarithms - median).astype(np.int64).clip(-64, 64), median


def _fit_deviations(
    samples: np.ndarray, row_step: np.ndarray, column_step: np.ndarray
) -> tuple[np.ndarray, np.ndarray]:
    """Standard deviations a_i b_j of samples (n, d), by alternating maximum likelihood.

    The samples are taken in steps first, so that rows and columns of coarse steps, whose spread
    matters less, are fitted alike.
    """
    columns = np.square(column_step).astype(np.float32)
    for _ in range(SPREAD_PASSES):
        rows = np.maximum(_squares_by_row(samples, 1 / columns) / len(columns), 1e-30)
        weight = 1 / rows
        squares = sum(weight[own] @ np.square(samples[own]) for own in _row_blocks(len(rows)))
        columns = np.maximum(squares / len(rows), 1e-30).astype(np.float32)
    return np.sqrt(rows), np.sqrt(columns)


def _squares_by_row(samples: np.ndarray, weight: np.ndarray) -> np.ndarray:
    """Weighted sums of squares of the rows of samples (n, d), by weights of columns (d,): (n,)."""
    blocks = _row_blocks(len(samples))
    return np.concatenate([np.square(samples[own]) @ weight for own in blocks])


def _row_blocks(n: int) -> list[slice]:
    """Blocks of n rows, whose squares take little memory."""
    return [slice(start, start + ROWS_A_BLOCK) for start in range(0, n, ROWS_A_BLOCK)]


def _prices(counts: np.ndarray) -> np.ndarray:
    """Bits of each high part, by quantizer and table: (quantizers, CLASSES, WIDTH).

    Args:
        counts: of the same shape, by quantizer, table and high part + WIDTH // 2.
    """
    sizes = np.arange(WIDTH // 2 + 1)
    # Upper ends of the intervals of 0, 1, ... in steps; quantizer 1 has the levels 0, 0.5, 1.5 ...
    ends = (sizes + 0.5, np.where(sizes, sizes, 0.25))
    return np.stack([_price(own, ends[q]) for q, own in enumerate(counts)])


def _price(counts: np.ndarray, ends: np.ndarray) -> np.ndarray:
    """Bits of each high part, by table: (CLASSES, WIDTH), of the decisions that code it.

    Args:
        counts: (CLASSES, WIDTH) by table and high part + WIDTH // 2.
        ends: (WIDTH // 2 + 1,), upper ends of the intervals that high parts code, in steps.
    """
    middle = WIDTH // 2
    price = np.zeros((CLASSES, WIDTH))
    for table in range(CLASSES):
        scale = 2 ** ((table - UNIT) / PER_OCTAVE) / 2**0.5
        above = np.exp(-ends / scale)  # P(|k| > m) of a Laplace source
        seen = counts[table, middle:] + counts[table, middle::-1]
        seen[0] /= 2
        at_least = seen[::-1].cumsum()[::-1]
        reached = np.concatenate([[1.0], above[:-1]])
        more = (at_least - seen + PRIOR * above) / (at_least + PRIOR * reached).clip(1e-30)
        more = more.clip(2.0**-12, 1 - 2.0**-12)
        bits = np.concatenate([[0], -np.log2(more[:-1]).cumsum()]) - np.log2(1 - more)
        bits[1:] += 1  # the sign
        price[table] = np.concatenate([bits[:0:-1], bits])
    return price


@compiled
def _survey(
    values: np.ndarray,
    targets: np.ndarray,
    levels: np.ndarray,
    quantizers: np.ndarray,
    grid: Grid,
) -> tuple[np.ndarray, np.ndarray]:
    """Count high parts, and sum by how much targets exceed their levels.

    Args:
        values: int32 (n, d), integers of a rounded matrix.
        targets: float32 (n, d), what was rounded.
        levels: float32 (n, d), the levels of the integers in steps, without shifts.
        quantizers: uint8 (n, d), 0 without the trellis.
        grid: steps and classes.

    Returns:
        Counts (2, CLASSES, WIDTH) by quantizer, and sum and number (2, 4) of |T| - |level| in
        steps, where the second axis is 2 x quantizer + whether |z| is above 1.
    """
    counts = np.zeros((2, CLASSES, WIDTH))
    excess = np.zeros((2, 4))
    for i in range(levels.shape[0]):
        for j in range(levels.shape[1]):
            table, low = split_spread_class(grid.row_class[i] + grid.column_class[j])
            value = values[i, j]
            place = high_part(value, low) + WIDTH // 2
            counts[quantizers[i, j], table, min(max(place, 0), WIDTH - 1)] += 1
            if value:
                kind = 2 * quantizers[i, j] + int(abs(value) > 1)
                sample = abs(targets[i, j]) / (grid.row_step[i] * grid.column_step[j])
                excess[0, kind] += sample - abs(levels[i, j])
                excess[1, kind] += 1
    return counts, excess
