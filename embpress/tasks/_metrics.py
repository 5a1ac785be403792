"""Official metrics of many samples of examples at once: arrays (B, n) to scores (B,)."""

import numpy as np
from scipy.stats import rankdata


def _ratio(up: np.ndarray, down: np.ndarray) -> np.ndarray:
    """Quotient, 0 where the denominator is 0 (as scikit-learn has it)."""
    return np.divide(up, down, out=np.zeros(len(up)), where=down > 0)


def accuracy(predicted: np.ndarray, gold: np.ndarray) -> np.ndarray:
    """Share of correct predictions."""
    return (predicted == gold).mean(1)


def f1(predicted: np.ndarray, gold: np.ndarray) -> np.ndarray:
    """F1 of label 1, the second of two: 2 TP / (2 TP + FP + FN)."""
    hits = ((predicted == 1) & (gold == 1)).sum(1)
    return _ratio(2.0 * hits, (predicted == 1).sum(1) + (gold == 1).sum(1))


def matthews(predicted: np.ndarray, gold: np.ndarray) -> np.ndarray:
    """Matthews' correlation of two or more labels (Gorodkin 2004, R_K); 0 if all predictions, or
    all true labels, are the same.
    """
    n = float(predicted.shape[1])
    hits = (predicted == gold).sum(1).astype(float)
    cross = np.zeros(len(hits))
    squares = [np.zeros(len(hits)) for _ in range(2)]
    for label in range(int(max(predicted.max(), gold.max())) + 1):
        counts = [(side == label).sum(1).astype(float) for side in (predicted, gold)]
        cross += counts[0] * counts[1]
        for total, count in zip(squares, counts):
            total += count**2
    return _ratio(hits * n - cross, np.sqrt((n**2 - squares[0]) * (n**2 - squares[1])))


def pearson(left: np.ndarray, right: np.ndarray) -> np.ndarray:
    """Pearson's correlation; 0 if one side is constant."""
    a, b = (x - x.mean(1, keepdims=True) for x in (left, right))
    # A constant side leaves rounding errors behind: its range tells that it is constant, its
    # variance does not.
    varies = (np.ptp(left, axis=1) > 0) & (np.ptp(right, axis=1) > 0)
    return np.where(varies, _ratio((a * b).sum(1), np.sqrt((a**2).sum(1) * (b**2).sum(1))), 0.0)


def spearman(left: np.ndarray, right: np.ndarray) -> np.ndarray:
    """Spearman's correlation, ties by mean rank; 0 where one side is constant."""
    return _rank_correlation(rankdata(left, axis=1), rankdata(right, axis=1))


def resampled_spearman(left: np.ndarray, right: np.ndarray, indices: np.ndarray) -> np.ndarray:
    """`spearman` of samples of the same examples.

    Args:
        left: (n,) values of all examples.
        right: (n,) values of all examples.
        indices: (B, m) positions of the sampled examples.

    Returns:
        (B,).
    """
    return _rank_correlation(*(_resampled_ranks(side, indices) for side in (left, right)))


def _resampled_ranks(values: np.ndarray, indices: np.ndarray) -> np.ndarray:
    """Mean ranks within each sample, (B, m).

    Values are sorted once: the rank of one follows from how often those below it were drawn.
    """
    distinct, position = np.unique(values, return_inverse=True)
    sampled = position[indices]
    first = np.arange(len(indices))[:, None] * len(distinct)
    counts = np.bincount((sampled + first).ravel(), minlength=first.size * len(distinct))
    counts = counts.reshape(len(indices), -1)
    ranks = counts.cumsum(1) - (counts - 1) / 2
    return np.take_along_axis(ranks, sampled, axis=1)


def _rank_correlation(left: np.ndarray, right: np.ndarray) -> np.ndarray:
    """Pearson's correlation of ranks (B, n)."""
    a, b = (ranks - (ranks.shape[1] + 1) / 2 for ranks in (left, right))
    return _ratio((a * b).sum(1), np.sqrt((a**2).sum(1) * (b**2).sum(1)))
