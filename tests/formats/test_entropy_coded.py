import numpy as np
import pytest
import torch

from embpress import storage
from embpress.errors import UserError
from embpress.formats.entropy_coded import NORM_BITS, SHIFT_UNIT, TIER_BITS, EntropyCoded
from embpress.methods import compress
from embpress.methods._base import Context
from embpress.numerics import bits
from embpress.numerics.index_tables import split_spread_class
from embpress.numerics.trellis import NEXT, level


@pytest.fixture(scope="module")
def compressed():
    """Rows whose widths differ so much that some of their coordinates are stored in part raw."""
    generator = torch.Generator().manual_seed(0)
    matrix = torch.randn(600, 24, generator=generator) * torch.logspace(1, -3, 24)
    return compress(matrix, "ectcq", 3, Context(torch.arange(600, 0, -1) ** 2))


def words_of(compressed, row):
    first = compressed.first[row]
    return [int(word) for word in compressed.words[first : first + compressed.length[row]]]


def decoded(compressed, row):
    """One row out of what is stored, by Python's own integers."""
    width = TIER_BITS + NORM_BITS + compressed.length_bits
    info = int(bits.gather(compressed.stream, torch.tensor([row]), width))
    tier = info % 2**TIER_BITS
    more = 2 * tier + info // 2**TIER_BITS % 2**NORM_BITS + int(compressed.offset)
    split = [split_spread_class(int(spread) + more) for spread in compressed.spread]
    words = words_of(compressed, row)
    n_raw = -(-sum(low for _, low in split) // 16)
    raw_bits = sum(word << 16 * i for i, word in enumerate(words[:n_raw]))
    left = words[n_raw:] or [1]
    code = left[0]
    left = left[1:]
    while left and code < 2**32:
        code = code * 2**16 + left[0]
        left = left[1:]
    state = 0
    levels = []
    for table, low in split:
        quantizer = state & 1
        raw = raw_bits & (1 << low) - 1
        raw_bits >>= low
        frequency = compressed.tables.frequency[quantizer, table]
        slot = code % 4096
        order = sorted(
            np.flatnonzero(frequency) - len(frequency) // 2, key=lambda k: (abs(k), -k)
        )  # 0, 1, -1, 2, ...
        below = 0
        for k in order:
            size = int(frequency[k + len(frequency) // 2])
            if slot < below + size:
                break
            below += size
        code = size * (code // 4096) + slot - below
        if left and code < 2**32:
            code = code * 2**16 + left[0]
            left = left[1:]
        index = int(k) * 2**low + raw - 2**low // 2
        shift = int(compressed.shift[quantizer, table, int(abs(index) > 1)]) / SHIFT_UNIT
        levels.append(level(index, quantizer) + np.sign(index) * shift)
        state = int(NEXT[state, index & 1])
    step = float(compressed.step) * 2 ** (-tier / 2)
    return compressed.mean.double().numpy() + step * compressed.columns.double().numpy() @ np.array(
        levels
    )


def test_rows_against_a_plain_reading_of_what_is_stored(compressed):
    rows = torch.tensor([0, 3, 599, 100])
    for row, found in zip(rows.tolist(), compressed.rows(rows)):
        np.testing.assert_allclose(found.numpy(), decoded(compressed, row), rtol=1e-4, atol=1e-5)
    # Of row 0, with its norm class.
    lows = [
        split_spread_class(int(spread) + int(compressed.class_offset[0]))[1]
        for spread in compressed.spread
    ]
    assert max(lows) > 0  # the raw part was tried


def test_a_row_longer_than_the_stream_is_refused(compressed, tmp_path):
    storage.save(compressed, tmp_path)
    forged = storage.load(tmp_path)
    forged.stream[: forged.info_bytes] = 255
    storage.save(forged, tmp_path)
    with pytest.raises(UserError, match="rows are longer than the stream"):
        storage.load(tmp_path)


def test_random_bytes_decode_to_something_or_are_refused(compressed):
    """Nothing outside the stream is read, whatever it says."""
    for seed in range(200):
        generator = torch.Generator().manual_seed(seed)
        forged = EntropyCoded(
            compressed.shape, compressed.basis_bits, compressed.stream_bytes, compressed.length_bits
        )
        forged.load_state_dict(compressed.state_dict())
        for name in ("stream", "spread", "offset", "shift"):
            buffer = getattr(forged, name)
            chosen = torch.rand(buffer.shape, generator=generator) < 0.02
            buffer[chosen] = torch.randint(-128, 128, (int(chosen.sum()),), generator=generator).to(
                buffer.dtype
            )
        try:
            forged.prepare()
            assert forged.rows(torch.arange(600)).shape == compressed.shape
        except (ValueError, UserError) as error:
            assert "longer than" in str(error) or "damaged" in str(error)
