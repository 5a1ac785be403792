"""Records of rows are decoded exactly, in fewer bits than fixed widths, and damage is bounded."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from embpress.numerics.row_records import LONGEST, RowRecords, decode_records, encode_records

SYMBOLS = st.integers(0, 31)
ROWS = st.lists(st.tuples(SYMBOLS, SYMBOLS, st.integers(0, 100_000)), min_size=1, max_size=60)


def records_of(rows):
    return RowRecords(*np.array(rows, dtype=np.int64).T.copy())


@given(ROWS)
@settings(max_examples=60, deadline=None)
def test_any_records_are_decoded_exactly(rows):
    records = records_of(rows)
    for wanted, found in zip(records, decode_records(encode_records(records), len(rows))):
        assert np.array_equal(wanted, found)


def test_bits_are_near_the_entropy_of_what_the_class_does_not_say():
    """Lengths of one deviation about a mean by spread class; norms and tiers of 2 and 3 bits."""
    rng = np.random.default_rng(0)
    n = 20_000
    tier, norm = rng.integers(0, 8, n), rng.integers(10, 14, n)
    length = np.round(200 + 30 * tier + 15 * norm + 5 * rng.normal(size=n)).astype(np.int64)
    words = encode_records(RowRecords(tier, norm, length))
    entropy = 3 + 2 + np.log2(5 * np.sqrt(2 * np.pi * np.e))
    assert entropy < 16 * len(words) / n < 1.04 * entropy


@given(st.lists(st.integers(0, 0xFFFF), max_size=40), st.integers(1, 50))
@settings(max_examples=60, deadline=None)
def test_words_that_are_no_records_give_bounded_numbers_or_are_refused(words, n):
    try:
        records = decode_records(np.array(words, dtype=np.uint16), n)
    except ValueError as error:
        assert "longer than the stream" in str(error)
        return
    assert all(len(values) == n for values in records)
    assert max(records.tier.max(), records.norm.max()) < 32
    assert records.length.min() >= 0 and records.length.max() <= LONGEST


def test_empty_words_are_refused():
    with pytest.raises(ValueError, match="longer than the stream"):
        decode_records(np.zeros(1, dtype=np.uint16), 3)
