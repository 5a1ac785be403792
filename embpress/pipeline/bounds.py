"""The rate-distortion bound of a checkpoint's embedding over a grid of ratios.

The curve that figures draw.
"""

from pathlib import Path

from ..data.token_counts import read_counts
from ..fidelity.rate_distortion import GaussianSource
from ..models.checkpoints import embedding_matrix
from ..numerics.weights import smooth_counts

RATIOS = [2 ** (i / 8) for i in range(8, 49)]
"""2 to 64."""


def bound_curve(checkpoint: Path, counts_file: Path) -> list[dict[str, float | str]]:
    """The least relative error at each of RATIOS.

    Of rows alike, and with rows weighted by smoothed counts.
    """
    source = GaussianSource.from_matrix(embedding_matrix(checkpoint))
    weights = smooth_counts(read_counts(counts_file))
    return [
        {"weighting": name, "ratio": ratio, "relative_error": source.relative_error(ratio, chosen)}
        for name, chosen in (("uniform", None), ("counts", weights))
        for ratio in RATIOS
    ]
