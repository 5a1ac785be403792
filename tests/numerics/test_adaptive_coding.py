"""The adaptive coder decodes what it coded, in few bits more than the entropy."""

import numpy as np
import pytest
from scipy.stats import norm

from embpress.numerics.adaptive_coding import Probabilities, decode_matrix, encode_matrix
from embpress.numerics.index_tables import OCTAVE, UNIT


def coded(values, rows, columns):
    """Words of a matrix."""
    learned = Probabilities()
    return encode_matrix(values, rows, columns, learned.entries)


def decoded(words, rows, columns):
    """The matrix of words."""
    learned = Probabilities()
    return decode_matrix(words, rows, columns, learned.entries)


@pytest.mark.parametrize("deviation", [0.05, 0.5, 3, 40, 1e4])
def test_integers_of_every_spread_are_decoded_exactly(deviation):
    rng = np.random.default_rng(0)
    values = np.round(rng.normal(size=(30, 20)) * deviation).astype(np.int32)
    values[3, 4] = 100_000  # far beyond the expected spread
    values[29, 19] = -70_000
    rows = rng.integers(-8, 8, 30) + UNIT
    columns = rng.integers(-8, 8, 20) + round(OCTAVE * np.log2(deviation))
    words = coded(values, rows, columns)
    assert np.array_equal(decoded(words, rows, columns), values)


@pytest.mark.parametrize("shape", [(1, 1), (1, 3), (7, 5)])
def test_raw_bits_of_short_words_are_decoded_exactly(shape):
    """The coder's state then has fewer bits than are read at once."""
    rng = np.random.default_rng(4)
    values = rng.integers(-(1 << 24), 1 << 24, shape).astype(np.int32)
    rows = np.full(shape[0], UNIT)
    columns = np.full(shape[1], 24 * OCTAVE)
    assert np.array_equal(decoded(coded(values, rows, columns), rows, columns), values)


def test_bits_are_within_two_percent_of_the_conditional_entropy():
    rng = np.random.default_rng(1)
    rows = rng.integers(-6, 7, 400)
    columns = rng.integers(-6, 7, 300)
    deviation = 2 ** ((rows[:, None] + columns) / OCTAVE)
    values = np.round(rng.normal(size=deviation.shape) * deviation).astype(np.int32)
    above, below = (norm.cdf((values + half) / deviation) for half in (0.5, -0.5))
    entropy = -np.log2(np.maximum(above - below, 1e-300)).sum()
    bits = 16 * len(coded(values, rows + UNIT, columns))
    assert 0.99 * entropy < bits < 1.02 * entropy


def test_bits_follow_the_empirical_entropy_of_any_symmetric_law():
    rng = np.random.default_rng(2)
    law = [0.1, 0.2, 0.4, 0.2, 0.1]
    values = rng.choice([-5, -1, 0, 1, 5], p=law, size=(300, 200)).astype(np.int32)
    counts = np.unique(values, return_counts=True)[1]
    entropy = -(counts * np.log2(counts / values.size)).sum()
    bits = 16 * len(coded(values, np.full(300, UNIT), np.zeros(200, dtype=np.int64)))
    assert entropy < bits < 1.02 * entropy


def test_words_that_are_no_code_decode_to_something():
    rng = np.random.default_rng(3)
    words = rng.integers(0, 1 << 16, 50).astype(np.uint16)
    rows = np.full(20, UNIT)
    columns = np.zeros(30, dtype=np.int64)
    assert decoded(words, rows, columns).shape == (20, 30)
    assert decoded(words[:0], rows, columns).shape == (20, 30)
