import numpy as np
import pytest
import torch

from embpress.numerics import bits


@pytest.mark.parametrize("width", [1, 3, 4, 8, 11, 17, 32])
@pytest.mark.parametrize("count", [0, 1, 7, 1000])
def test_gather_reads_back_what_pack_wrote(width, count):
    values = torch.tensor(np.random.default_rng(0).integers(0, 2**width, count))
    packed = bits.pack(values, width)
    assert packed.dtype == torch.uint8 and packed.numel() == bits.packed_bytes(count, width)
    order = torch.randperm(count, generator=torch.Generator().manual_seed(0))
    assert torch.equal(bits.gather(packed, order, width), values[order])


def test_blocks_make_one_stream(monkeypatch):
    values = torch.tensor(np.random.default_rng(0).integers(0, 8, 100))
    whole = bits.pack(values, 3)
    monkeypatch.setattr(bits, "BLOCK", 16)
    assert torch.equal(bits.pack(values, 3), whole)


def test_layout_is_little_endian_numpy_bits():
    values = torch.tensor([0, 1, 1, 0, 1, 0, 0, 1, 1], dtype=torch.bool)
    assert bits.pack(values, 1).tolist() == np.packbits(values.numpy(), bitorder="little").tolist()


@pytest.mark.parametrize("value", [-1, 16])
def test_values_that_do_not_fit_are_refused(value):
    with pytest.raises(ValueError, match="do not fit 4 bits"):
        bits.pack(torch.tensor([value]), 4)


def test_width_for():
    assert [bits.width_for(n) for n in (1, 2, 3, 256, 257, 65536)] == [1, 1, 2, 8, 9, 16]


@pytest.mark.parametrize("width", range(1, 9))
@pytest.mark.parametrize("count", [1, 7, 8, 31, 48])
def test_packed_rows_unpack(width, count):
    values = torch.tensor(np.random.default_rng(0).integers(0, 2**width, (13, count)))
    packed = bits.pack_rows(values, width)
    assert packed.shape == (13, bits.packed_bytes(count, width))
    assert torch.equal(bits.unpack_rows(packed, width, count).long(), values)
