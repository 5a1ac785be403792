"""The least error that any code can reach at a ratio, for rows drawn from a Gaussian with the
matrix's covariance.

Of all sources of one covariance the Gaussian is the hardest to code, so what this bounds is a code
made for the covariance
alone: one that finds more structure in the rows may pass below. Bits go to principal components by
reverse water-filling (Cover and Thomas, Elements of Information Theory, theorem 10.3.3): a
component of variance l keeps the error min(l, level) and takes log2(l / level) / 2 bits where that
is positive. If errors of rows are weighted, row i with weight w has the level level / w: minimising
sum_i w_i D_i is water-filling over the products w_i l_j of all rows and components.

The mean row is subtracted before and added after, so that only the covariance about it takes bits.
Mean, basis and spectrum are known to the decoder at no cost: a bound may leave out side information
(the mean: d floats, as a row).
"""

import math
from dataclasses import dataclass

import torch
from torch import Tensor

from ..numerics.linalg import gram

FLOAT_BITS = 32
STEPS = 200
"""Of bisection: it ends far below the precision of float64."""


@dataclass(frozen=True)
class Source:
    """What the bound must know of a (V, d) matrix."""

    spectrum: Tensor
    """Variances of the principal components about the mean, float64 (d,)."""
    energies: Tensor
    """Squared norms of the rows, their part in the mean included, float64 (V,)."""

    @classmethod
    def of(cls, matrix: Tensor) -> "Source":
        """The Gaussian source with a matrix's mean and covariance."""
        moments = gram(matrix) / len(matrix)
        mean = matrix.double().mean(0)
        spectrum = torch.linalg.eigvalsh(moments - mean.outer(mean)).clamp(min=0)
        return cls(spectrum, torch.linalg.vector_norm(matrix, dim=1, dtype=torch.float64).square())

    def relative_error(self, ratio: float, weights: Tensor | None = None) -> float:
        """The bound on the relative error at a ratio (dense fp32 bits / bits stored); on the
        weighted one with weights (V,).

        Rows are alike to the code but for their weight; the error is divided by what they weigh in
        truth, as measured errors are, so that the quotient of the two is that of their absolute
        errors.
        """
        bits = FLOAT_BITS * len(self.spectrum) / ratio
        energy = float(
            self.energies.mean()
            if weights is None
            else (weights * self.energies).sum() / weights.sum()
        )
        return math.sqrt(distortion(self.spectrum, bits, weights) / energy) if energy > 0 else 0.0


def distortion(spectrum: Tensor, bits_per_row: float, weights: Tensor | None = None) -> float:
    """Least mean squared error of a Gaussian row with independent components of these variances
    (d,), at a rate.

    With weights (V,) the rate is the mean over rows, and the error is the weighted mean sum_i w_i
    D_i / sum_i w_i.
    """
    spectrum = spectrum[spectrum > 0].double().sort(descending=True).values
    if not len(spectrum):
        return 0.0
    weights = torch.ones(1) if weights is None else weights
    values, times = weights[weights > 0].double().unique(return_counts=True)
    filling = _WaterFilling(spectrum, values, times.double())
    low, high = _bracket(spectrum, values, bits_per_row * len(weights) / float(times.sum()))
    total = bits_per_row * len(weights)
    for _ in range(STEPS):
        middle = 0.5 * (low + high)
        low, high = (middle, high) if filling.bits(middle) > total else (low, middle)
    return filling.error(high) / float((values * times).sum())


def _bracket(spectrum: Tensor, values: Tensor, bits: float) -> tuple[float, float]:
    """Logs (base 2) of a water level that surely takes more than these bits a row.

    And of one that takes none.
    """
    # The least variable component of the least weighted row alone, times d, would take the bits at
    # the lower level.
    top, bottom = (
        math.log2(float(f(values))) + math.log2(float(f(spectrum))) for f in (torch.max, torch.min)
    )
    return bottom - 2 * bits / len(spectrum) - 1, top


class _WaterFilling:
    """Rate and error over all rows and components at a water level.

    Through prefix sums over the sorted spectrum.
    """

    def __init__(self, spectrum: Tensor, values: Tensor, times: Tensor) -> None:
        """Variances (d,), falling; distinct weights (m,) and how many rows have each (m,)."""
        zero = torch.zeros(1, dtype=torch.float64)
        self.values = values
        self.times = times
        self.rising_logs = spectrum.log2().flip(0)
        self.sum_of_logs = torch.cat([zero, spectrum.log2().cumsum(0)])
        self.rest = torch.cat([spectrum.flip(0).cumsum(0).flip(0), zero])

    def _levels(self, log_level: float) -> tuple[Tensor, Tensor]:
        """Each weight's own level, as a log, and the number of components above it.

        (m,) and (m,).
        """
        own = log_level - self.values.log2()
        return own, len(self.rising_logs) - torch.searchsorted(self.rising_logs, own, right=True)

    def bits(self, log_level: float) -> float:
        """Bits that all rows take."""
        own, above = self._levels(log_level)
        return float((self.times * 0.5 * (self.sum_of_logs[above] - above * own)).sum())

    def error(self, log_level: float) -> float:
        """Weighted squared error of all rows."""
        own, above = self._levels(log_level)
        return float((self.times * self.values * (above * own.exp2() + self.rest[above])).sum())


def distance_db(error: float, bound: float) -> float | None:
    """How many decibels of squared error lie between an error and its bound.

    None for an error of zero.
    """
    return 20 * math.log10(error / bound) if error > 0 and bound > 0 else None
