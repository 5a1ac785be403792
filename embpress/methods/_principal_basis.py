"""The basis of the format `entropy_coded`: principal axes, rounded as roughly as pays."""

from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor

from ..numerics.index_tables import OCTAVE
from ..numerics.memory import malloc_trim
from ..numerics.orthogonal_basis import (
    COARSEST,
    FINEST,
    encode_basis,
    orthogonal_columns,
    round_reflections,
)

BISECTIONS = 60
"""Steps of bisection of the water level, on a log2 scale about the spectrum of +-64."""


class PrincipalBasis(NamedTuple):
    """Principal axes as a decoder has them."""

    words: np.ndarray
    """uint16, their code; empty without a basis."""
    columns: Tensor | None
    """float32 (d, d), None without a basis."""
    variance: Tensor
    """float64 (d,), variances of the coordinates of rows."""


def no_basis(covariance: Tensor) -> PrincipalBasis:
    """The columns as they are, for rows of a covariance (d, d)."""
    return PrincipalBasis(np.empty(0, np.uint16), None, covariance.diagonal().clamp_min(0))


def principal_basis(covariance: Tensor, tier: Tensor, n_bits: float) -> PrincipalBasis:
    """Round the principal axes of rows so that bits of the basis and of rows together are least.

    Args:
        covariance: float64 (d, d), of the rows.
        tier: int64 (V,), of the rows.
        n_bits: of rows and basis.
    """
    values, vectors = torch.linalg.eigh(covariance)
    axes = np.ascontiguousarray(vectors.numpy().T[::-1])
    del vectors
    malloc_trim()
    steps = _log_steps(values.numpy()[::-1].clip(0), tier.bincount().numpy(), n_bits)
    exponents = np.clip(np.floor(OCTAVE * steps), FINEST, COARSEST).astype(np.int64)
    while True:
        codes = round_reflections(axes.copy(), exponents)
        words = encode_basis(codes, exponents)
        # A basis that takes more bits than the rows is too fine for this budget.
        if 32 * len(words) <= n_bits or exponents.min() == COARSEST:
            break
        exponents = (exponents + OCTAVE).clip(max=COARSEST)
    columns = torch.from_numpy(orthogonal_columns(codes, exponents))
    variance = (covariance @ columns).mul_(columns).sum(0).clamp_min(0)
    return PrincipalBasis(words, columns.float(), variance)


def _log_steps(variance: np.ndarray, times: np.ndarray, n_bits: float) -> np.ndarray:
    """log2 of the best steps of the axes' reflections.

    A rotation by a small angle a between axes i and j moves the variance a^2 (v_i - v_j) from i to
    j. By the slope of the rate-distortion curve this takes as many bits as
    a^2 (v_i - v_j) (1 / max(v_j, D) - 1 / max(v_i, D)) / (2 log 2) in each row of water level D.
    Rounding to steps s has a mean a^2 of s^2 / 12, and takes -log2(s) bits and a constant. The sum
    is least where s^2 is 12 over the sum of these factors over rows, here the mean over j > i.

    Args:
        variance: (d,), of the principal axes, falling.
        times: (tiers,), number of rows of each tier: the water level falls by 2 from tier to tier.
        n_bits: of all rows.
    """
    tiers = np.flatnonzero(times)
    relative = np.exp2(-tiers.astype(float))[:, None]
    floor = max(float(variance.max()) * 1e-18, 1e-200)
    low, high = np.log2(floor), np.log2(max(float(variance.max()), floor)) + tiers.max()
    for _ in range(BISECTIONS):
        middle = (low + high) / 2
        rates = np.log2((variance / (2**middle * relative)).clip(1)).sum(1) / 2
        low, high = (middle, high) if times[tiers] @ rates > n_bits else (low, middle)
    inverse = times[tiers] @ (1 / np.maximum(variance, 2**high * relative))
    d = len(variance)
    factors = [
        (variance[i] - variance[i + 1 :]) @ (inverse[i + 1 :] - inverse[i]) / max(1, d - 1 - i)
        for i in range(d)
    ]
    return np.log2(12 / np.maximum(factors, 1e-12)) / 2
