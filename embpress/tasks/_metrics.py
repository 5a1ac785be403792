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
    a, b = (rankdata(x, axis=1) - (x.shape[1] + 1) / 2 for x in (left, right))
    return _ratio((a * b).sum(1), np.sqrt((a**2).sum(1) * (b**2).sum(1)))
