"""Weights of a matrix's rows, from the counts of their tokens."""

from torch import Tensor


def smoothed(counts: Tensor) -> Tensor:
    """Weights of mean 1, float64 (V,), that corpus counts give to rows: add-one smoothed token
    probabilities.

    Raw counts would leave tokens that the corpus lacks without any weight, though other text has
    them.
    """
    weights = counts.double() + 1
    return weights / weights.mean()
