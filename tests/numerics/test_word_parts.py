"""Parts of words come back, and a length beyond the words is refused."""

import numpy as np
import pytest

from embpress.numerics.word_parts import PartReader, join_parts, number_words


def test_parts_come_back_and_what_follows_stays():
    parts = [np.arange(3, dtype=np.uint16), np.empty(0, np.uint16), np.zeros(70_000, np.uint16)]
    after = np.array([7, 8], np.uint16)
    reader = PartReader(np.concatenate([join_parts(parts), after]), "a test")
    for part in parts:
        assert np.array_equal(reader.next_part(), part)
    assert np.array_equal(reader.rest, after)


@pytest.mark.parametrize("words", [[], [1], [2, 0, 5], [0, 1]])
def test_a_part_beyond_the_words_is_refused(words):
    reader = PartReader(np.array(words, np.uint16), "a test")
    with pytest.raises(ValueError, match="a test is longer than the stream"):
        reader.next_part()


def test_a_number_has_its_lower_word_first():
    assert number_words(65_536 * 3 + 4).tolist() == [4, 3]
