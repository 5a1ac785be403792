"""Codes of integers that were written before are those that are written now."""

from pathlib import Path

import numpy as np
import pytest

from embpress import storage
from embpress.formats.entropy_coded_integers import _decode_words, encode_words
from embpress.numerics.row_records import decode_records, encode_records
from embpress.numerics.row_references import encode_references

GOLDEN = Path(__file__).parent / "golden"


@pytest.mark.parametrize("folder", ["entropy_coded_integers", "entropy_coded_integers_trellis"])
def test_decoded_integers_are_coded_to_the_same_words(folder):
    matrix = storage.load(GOLDEN / folder)
    words = matrix.stream.numpy().view(np.uint16)
    offset = int(matrix.offset)
    scales, values = _decode_words(words, matrix.shape, offset, matrix.has_trellis)
    assert np.array_equal(encode_words(values, scales, offset, matrix.has_trellis), words)


def test_decoded_records_and_references_are_coded_to_the_same_words():
    matrix = storage.load(GOLDEN / "entropy_coded_3")
    references = encode_references(matrix.references)
    records = matrix.words[len(matrix.words) - int(matrix.words[0]) :]
    assert np.array_equal(encode_records(decode_records(records, matrix.shape[0])), records)
    rest = matrix.words[matrix.stop // 16 :]
    wanted = np.concatenate([matrix.coded_basis, references, records])
    assert len(references) and np.array_equal(rest, wanted)
