"""The rate-distortion bound of a checkpoint's embedding over a grid of ratios: the curve that figures draw."""

from pathlib import Path

from ..checkpoints import embedding_matrix
from ..counting.frequency import read_counts, smoothed
from .rate_distortion import Source

RATIOS = [2 ** (i / 8) for i in range(8, 49)]
"""2 to 64."""


def bound_curve(checkpoint: Path, counts_file: Path) -> list[dict[str, float | str]]:
    """The least relative error at each of RATIOS: of rows alike, and with rows weighted by smoothed counts."""
    source, weights = Source.of(embedding_matrix(checkpoint)), smoothed(read_counts(counts_file))
    return [
        {"weighting": name, "ratio": ratio, "relative_error": source.relative_error(ratio, chosen)}
        for name, chosen in (("uniform", None), ("counts", weights))
        for ratio in RATIOS
    ]
