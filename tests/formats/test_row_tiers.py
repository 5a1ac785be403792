import pytest
import torch

from embpress import storage
from embpress.errors import UserError
from embpress.formats.integer_rows import IntegerRows
from embpress.formats.rotated_signs import RotatedSigns
from embpress.formats.row_tiers import RowTiers
from embpress.numerics import bits


def tiers_of(*n_rows):
    config = {"width": 8, "group": 0, "minima": False}
    return [{"format": "integer_rows", "rows": n, "config": config} for n in n_rows]


def filled():
    """Rows 2 and 5 in a tier of signs, the others in one of integers."""
    signs = {"format": "rotated_signs", "rows": 2, "config": {"stages": 2, "seed": 3}}
    matrix = RowTiers((6, 8), [signs, *tiers_of(4)], padding=3)
    generator = torch.Generator().manual_seed(0)
    for part in matrix.parts:
        part.codes.copy_(torch.randint(256, part.codes.shape, generator=generator))
        part.scale.copy_(torch.rand(part.scale.shape, generator=generator))
    matrix.tier.copy_(bits.pack(torch.tensor([1, 1, 0, 1, 1, 0]), 1))
    matrix.prepare()
    return matrix


def test_rows_are_those_of_the_tiers_in_their_order():
    matrix = filled()
    signs, integers = matrix.parts
    assert isinstance(signs, RotatedSigns) and isinstance(integers, IntegerRows)
    dense = matrix.dense()
    assert torch.equal(dense[[2, 5]], signs.dense())
    assert torch.equal(dense[[0, 1, 3, 4]], integers.dense())


def test_size_is_that_of_the_tiers_their_map_and_the_padding():
    matrix = filled()
    parts = sum(part.stored_bits for part in matrix.parts)
    assert matrix.stored_bits == parts + 8 + 24


def test_it_is_stored_exactly(tmp_path):
    matrix = filled()
    storage.save(matrix, tmp_path)
    loaded = storage.load(tmp_path)
    assert torch.equal(loaded.dense(), matrix.dense())
    assert loaded.config() == matrix.config()


def test_a_map_that_contradicts_the_sizes_is_refused(tmp_path):
    matrix = filled()
    matrix.tier.zero_()
    with pytest.raises(ValueError, match="tier 0 does not have 2 rows"):
        matrix.prepare()
    storage.save(matrix, tmp_path)
    with pytest.raises(UserError, match="tier 0 does not have 2 rows"):
        storage.load(tmp_path)


@pytest.mark.parametrize("n_rows", [(3, 4), (2,), ()])
def test_tiers_of_another_number_of_rows_are_refused(n_rows):
    with pytest.raises(ValueError, match="as many rows"):
        RowTiers((6, 8), tiers_of(*n_rows))
