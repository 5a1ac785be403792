"""Scalar quantizers of least squared error of a known law (Lloyd 1957/1982, Max 1960)."""

from functools import lru_cache
from typing import Literal

import numpy as np

Law = Literal["beta", "gaussian"]

GRID = 1 << 16
"""Points of the numerical integration."""
RANGE = 8.0
"""Integration ends at this many standard deviations."""
ITERATIONS = 5000
"""Maximum number of Lloyd's iterations; at up to 16 levels 500 suffice."""


@lru_cache(maxsize=64)
def lloyd_max_levels(n_levels: int, law: Law = "gaussian", d: int = 0) -> np.ndarray:
    """Levels of least squared error for a variable of mean 0 and variance 1.

    Args:
        n_levels: number of levels, an even number.
        law: `gaussian`, or `beta`: that of a coordinate of a uniformly random point on the sphere
            of radius sqrt(d), with density proportional to (1 - x^2 / d)^((d - 3) / 2) (TurboQuant,
            Lemma 1).
        d: number of coordinates of the point, at least 2; only of `beta`.

    Returns:
        float32 (n_levels,), rising and symmetric about 0.
    """
    edges, mass, moment = _integrals(law, d)
    levels = _initial_levels(edges, mass, n_levels)
    for _ in range(ITERATIONS):
        bounds = np.concatenate([[edges[0]], (levels[1:] + levels[:-1]) / 2, [edges[-1]]])
        share = np.diff(np.interp(bounds, edges, mass)).clip(1e-300)
        updated = np.diff(np.interp(bounds, edges, moment)) / share
        updated = (updated - updated[::-1]) / 2
        change = float(np.abs(updated - levels).max())
        levels = updated
        if change < 1e-9:
            break
    return levels.astype(np.float32)


def _density(x: np.ndarray, law: Law, d: int) -> np.ndarray:
    """Density at points x, up to a factor."""
    if law == "gaussian":
        return np.exp(-(x**2) / 2)
    return (1 - x**2 / d) ** ((d - 3) / 2)


def _integrals(law: Law, d: int) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Edges of a grid (GRID + 1,), and integrals of density and of x times density up to each."""
    end = RANGE if law == "gaussian" else min(RANGE, d**0.5)
    edges = np.linspace(-end, end, GRID + 1)
    middle = (edges[1:] + edges[:-1]) / 2
    density = _density(middle, law, d)
    density = density / density.sum()
    mass = np.concatenate([[0.0], np.cumsum(density)])
    return edges, mass, np.concatenate([[0.0], np.cumsum(density * middle)])


def _initial_levels(edges: np.ndarray, mass: np.ndarray, n_levels: int) -> np.ndarray:
    """Levels whose density is the cube root of the law's, as is best for many levels."""
    point_density = np.cumsum(np.diff(mass) ** (1 / 3))
    shares = (np.arange(n_levels) + 0.5) / n_levels
    levels = np.interp(shares, point_density / point_density[-1], edges[1:])
    return (levels - levels[::-1]) / 2
