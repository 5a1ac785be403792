"""References of rows are decoded exactly, in few bits, and damage is met."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from embpress.numerics.row_references import (
    GAINS,
    RowReferences,
    decode_references,
    encode_references,
)


def references_of(gains, seed=0):
    """References to random roots."""
    gain = np.array(gains, dtype=np.int64)
    row = np.arange(len(gain))
    roots = row[gain == 0]
    row[gain > 0] = np.random.default_rng(seed).choice(roots, len(gain) - len(roots))
    return RowReferences(gain, row)


@given(st.lists(st.integers(0, GAINS - 1), max_size=60), st.integers(0, 99))
@settings(max_examples=60, deadline=None)
def test_any_references_are_decoded_exactly(gains, seed):
    references = references_of([0, *gains], seed)
    decoded = decode_references(encode_references(references), len(gains) + 1)
    for wanted, found in zip(references, decoded):
        assert np.array_equal(wanted, found)


def test_roots_are_first_in_the_stream():
    references = references_of([0, 3, 0, 5, 0])
    assert references.order.tolist() == [0, 2, 4, 1, 3]
    assert [ids.tolist() for ids in references.groups] == [[0, 2, 4], [1, 3]]


def test_rows_without_references_take_no_words():
    assert not len(encode_references(RowReferences.none(100)))
    assert not decode_references(np.empty(0, np.uint16), 100).gain.any()


def test_bits_are_near_the_entropy_of_random_roots():
    gains = np.random.default_rng(0).integers(0, 2, 20_000) * 4
    references = references_of(gains)
    entropy = 1 + 0.5 * np.log2((gains == 0).sum())
    assert entropy < 16 * len(encode_references(references)) / len(gains) < 1.06 * entropy


@given(st.lists(st.integers(0, 0xFFFF), max_size=40), st.integers(1, 50))
@settings(max_examples=100, deadline=None)
def test_words_that_are_no_references_refer_to_roots_or_are_refused(words, n):
    try:
        gain, row = decode_references(np.array(words, dtype=np.uint16), n)
    except ValueError as error:
        assert "stream" in str(error)
        return
    assert (gain[row] == 0).all() and row.min() >= 0 and row.max() < n


def test_references_that_are_cut_are_refused():
    words = encode_references(references_of([0, 3, 0, 5, 0]))
    for end in (1, 2):
        with pytest.raises(ValueError, match="longer than the stream"):
            decode_references(words[:end], 5)
