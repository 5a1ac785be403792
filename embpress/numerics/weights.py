"""Weights of the rows of an embedding matrix from the counts of their tokens."""

from torch import Tensor


def smooth_counts(counts: Tensor) -> Tensor:
    """Row weights of mean 1 from corpus counts: (V,) to float64 (V,).

    Weights are proportional to add-one smoothed token probabilities: raw counts would give weight
    0 to tokens that do not occur in the corpus, although other text contains them.
    """
    weights = counts.double() + 1
    return weights / weights.mean()
