"""Lookups are timed beside dense ones, one checkpoint a model."""

import torch

from embpress.methods import compress
from embpress.speed import ROWS, lookups


def test_lookups_are_timed_for_every_number_of_rows():
    dense = torch.randn(500, 16, generator=torch.Generator().manual_seed(0))
    compressed = compress(dense, "integer", 6.0, bits=4)
    found = lookups(compressed, dense)
    assert [row["rows"] for row in found] == list(ROWS)
    for row in found:
        assert row["bytes"] == compressed.stored_bits // 8
        assert 0 < row["low"] <= row["microseconds"] <= row["high"] and row["dense"] > 0
