"""Sentence embeddings beside those of the uncompressed model."""

from torch import Tensor, from_numpy

from ._base import Outcomes

VECTORS = "vectors"
"""Outcome of the uncompressed model: sentence embeddings of length 1, (n, d)."""
COSINES = "cosines"
"""Outcome of other models: cosine of each embedding to the uncompressed model's, (n,)."""


def compare_vectors(vectors: Tensor, reference: Outcomes | None, suffix: str = "") -> Outcomes:
    """Cosines to the uncompressed model's vectors; without a reference the vectors themselves.

    Args:
        vectors: (n, d) of length 1.
        reference: outcomes of the uncompressed model.
        suffix: of the outcome's name.
    """
    if reference is None:
        return {VECTORS + suffix: vectors.numpy()}
    stored = from_numpy(reference[VECTORS + suffix])
    cosines = (vectors.double() * stored.double()).sum(1).clamp(-1, 1)
    return {COSINES + suffix: cosines.numpy()}
