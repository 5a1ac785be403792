"""Weights of the rows of an embedding matrix from the counts of their tokens."""

from torch import Tensor


def smooth_counts(counts: Tensor, power: float = 1.0) -> Tensor:
    """Row weights of mean 1 from corpus counts: (V,) to float64 (V,).

    Weights are proportional to add-one smoothed token probabilities: raw counts would give weight
    0 to tokens that do not occur in the corpus, although other text contains them.

    Args:
        counts: of the tokens in a corpus.
        power: of the smoothed counts. Below 1, rare tokens weigh more.
    """
    weights = (counts.double() + 1) ** power
    return weights / weights.mean()
