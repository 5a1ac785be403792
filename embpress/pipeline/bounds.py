"""The rate-distortion bound of a checkpoint's embedding over a grid of ratios, for figures."""

from pathlib import Path

from ..data.token_counts import read_counts
from ..fidelity.rate_distortion import GaussianSource
from ..models.checkpoints import embedding_matrix
from ..numerics.weights import smooth_counts

RATIOS = [2 ** (i / 8) for i in range(8, 49)]
"""From 2 to 64, eight an octave."""


def bound_curve(checkpoint: Path, counts_file: Path) -> list[dict[str, float | str]]:
    """Compute the lowest relative error at each of RATIOS.

    Returns:
        One row a ratio and weighting: "uniform", or "counts" for rows weighted by smoothed counts.
    """
    source = GaussianSource.from_matrix(embedding_matrix(checkpoint))
    weights = smooth_counts(read_counts(counts_file))
    return [
        {"weighting": name, "ratio": ratio, "relative_error": source.relative_error(ratio, chosen)}
        for name, chosen in (("uniform", None), ("counts", weights))
        for ratio in RATIOS
    ]
