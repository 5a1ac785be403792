"""Rate-distortion lower bound on the error at a ratio, for Gaussian rows of the matrix's
covariance.

Of all sources of one covariance the Gaussian one is the hardest to code. The bound therefore holds
for codes that use the covariance alone: a code that uses more structure of the rows may be below
it. Bits are allocated to principal components by reverse water-filling (Cover and Thomas, Elements
of Information Theory, theorem 10.3.3): a component of variance l has the error min(l, level) and
takes log2(l / level) / 2 bits where that is positive. With weights w of the rows' errors, a row has
the level level / w: minimizing sum_i w_i D_i is water-filling over the products w_i l_j of all rows
and components.

The mean row is subtracted before coding and added afterwards, so that only the covariance takes
bits. The decoder knows mean, basis and spectrum at no cost: a lower bound may ignore this side
information.
"""

import math
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from ..numerics.linalg import gram

FLOAT_BITS = 32
STEPS = 200
"""Steps of bisection: far more than float64's precision needs."""


@dataclass(frozen=True)
class GaussianSource:
    """Mean-free spectrum and row energies of a (V, d) matrix."""

    spectrum: Tensor
    """float64 (d,), variances of the principal components about the mean."""
    energies: Tensor
    """float64 (V,), squared norms of the rows, without subtracting the mean."""

    @classmethod
    def from_matrix(cls, matrix: Tensor) -> "GaussianSource":
        """The Gaussian source with the mean and covariance of a matrix."""
        moments = gram(matrix, precision=np.float32) / len(matrix)
        mean = matrix.double().mean(0)
        spectrum = torch.linalg.eigvalsh(moments - mean.outer(mean)).clamp(min=0)
        return cls(spectrum, torch.linalg.vector_norm(matrix, dim=1, dtype=torch.float64).square())

    def relative_error(self, ratio: float, weights: Tensor | None = None) -> float:
        """Lower bound on the relative error at a ratio, weighted if row weights (V,) are given.

        The code treats all rows alike but for their weights. The error is divided by the actual
        weighted energy of the rows, as measured errors are, so that both have the same denominator.
        """
        bits = FLOAT_BITS * len(self.spectrum) / ratio
        energy = float(
            self.energies.mean()
            if weights is None
            else (weights * self.energies).sum() / weights.sum()
        )
        if energy <= 0:
            return 0.0
        return math.sqrt(gaussian_distortion(self.spectrum, bits, weights) / energy)


def gaussian_distortion(
    spectrum: Tensor, bits_per_row: float, weights: Tensor | None = None
) -> float:
    """Distortion-rate function: least mean squared error of a Gaussian row at a rate.

    Args:
        spectrum: variances of the independent components, (d,).
        bits_per_row: the rate; with weights its mean over rows.
        weights: (V,); the error is then the weighted mean sum_i w_i D_i / sum_i w_i.
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
        if filling.bits(middle) > total:
            low = middle
        else:
            high = middle
    return filling.error(high) / float((values * times).sum())


def _bracket(spectrum: Tensor, values: Tensor, bits: float) -> tuple[float, float]:
    """log2 of a water level that takes more than these bits per row, and of one that takes none."""
    # At the lower level d components as small as the smallest, in rows of the least weight, would
    # already take these bits.
    top, bottom = (
        math.log2(float(f(values))) + math.log2(float(f(spectrum))) for f in (torch.max, torch.min)
    )
    return bottom - 2 * bits / len(spectrum) - 1, top


class _WaterFilling:
    """Rate and error over all rows and components at a water level.

    Through prefix sums over the sorted spectrum.
    """

    def __init__(self, spectrum: Tensor, values: Tensor, times: Tensor) -> None:
        """Variances (d,) in falling order, distinct weights (m,) and their numbers of rows (m,)."""
        zero = torch.zeros(1, dtype=torch.float64)
        self.values = values
        self.times = times
        self.rising_logs = spectrum.log2().flip(0)
        self.sum_of_logs = torch.cat([zero, spectrum.log2().cumsum(0)])
        self.rest = torch.cat([spectrum.flip(0).cumsum(0).flip(0), zero])

    def _levels(self, log_level: float) -> tuple[Tensor, Tensor]:
        """log2 of the level of each weight, and the number of components above it: (m,) each."""
        own = log_level - self.values.log2()
        return own, len(self.rising_logs) - torch.searchsorted(self.rising_logs, own, right=True)

    def bits(self, log_level: float) -> float:
        """Bits of all rows at a water level, given as its log2."""
        own, above = self._levels(log_level)
        return float((self.times * 0.5 * (self.sum_of_logs[above] - above * own)).sum())

    def error(self, log_level: float) -> float:
        """Weighted squared error of all rows at a water level, given as its log2."""
        own, above = self._levels(log_level)
        return float((self.times * self.values * (above * own.exp2() + self.rest[above])).sum())


def distance_db(error: float, bound: float) -> float | None:
    """Decibels of squared error between a relative error and its bound; None if either is 0."""
    return 20 * math.log10(error / bound) if error > 0 and bound > 0 else None
