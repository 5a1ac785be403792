import json
from pathlib import Path

import numpy as np
import pytest
import torch

from embpress import storage
from embpress.errors import UserError
from embpress.formats.entropy_coded import NORM_BITS, TIER_BITS, EntropyCoded
from embpress.methods import compress
from embpress.methods._base import Context
from embpress.numerics.index_tables import split_spread_class
from embpress.numerics.row_coding import SHIFT_UNIT
from embpress.numerics.row_references import GAINS
from embpress.numerics.trellis import NEXT, level


@pytest.fixture(scope="module")
def compressed():
    """Rows whose widths differ so much that some of their coordinates are stored in part raw."""
    generator = torch.Generator().manual_seed(0)
    matrix = torch.randn(600, 24, generator=generator) * torch.logspace(1, -3, 24)
    return compress(matrix, "ectcq", 3, Context(torch.arange(600, 0, -1) ** 2))


def bits_of(compressed, row):
    """The bits of one row as an integer, and their number."""
    words = int.from_bytes(compressed.words.tobytes(), "little")
    length = int(compressed.length[row])
    return words >> int(compressed.first[row]) & (1 << length) - 1, length


def coordinates(compressed, row):
    """Coordinates of one row out of what is stored for it, by Python's own integers."""
    more = int(compressed.class_offset[row])
    split = [split_spread_class(int(spread) + more) for spread in compressed.spread]
    raw_bits, length = bits_of(compressed, row)
    n_raw = sum(low for _, low in split)
    coded, left = raw_bits >> n_raw, length - n_raw
    code = 1
    if left:
        taken = (left - 1) % 16 + 1
        code, coded, left = coded & (1 << taken) - 1, coded >> taken, left - taken
    while left and code < 2**32:
        code, coded, left = code << 16 | coded & 0xFFFF, coded >> 16, left - 16
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
            code, coded, left = code << 16 | coded & 0xFFFF, coded >> 16, left - 16
        index = int(k) * 2**low + raw - 2**low // 2
        shift = int(compressed.shift[quantizer, table, int(abs(index) > 1)]) / SHIFT_UNIT
        levels.append(level(index, quantizer) + np.sign(index) * shift)
        state = int(NEXT[state, index & 1])
    return float(compressed.row_step[row]) * np.array(levels)


def decoded(compressed, row):
    """One row out of what is stored for it and for its reference."""
    gain = int(compressed.references.gain[row]) / GAINS
    own = coordinates(compressed, row)
    if gain:
        own += gain * coordinates(compressed, int(compressed.references.row[row]))
    return compressed.mean.double().numpy() + compressed.columns.double().numpy() @ own


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


@pytest.fixture(scope="module")
def related():
    """Half of the rows are nearly multiples of the others, and predicted by them."""
    generator = torch.Generator().manual_seed(0)
    half = torch.randn(300, 24, generator=generator) * torch.logspace(0.5, -1, 24)
    matrix = torch.cat([half, 0.9 * half + 0.02 * torch.randn(300, 24, generator=generator)])
    return compress(matrix, "ectcq", 4, Context(torch.arange(600, 0, -1) ** 2))


def test_predicted_rows_against_a_plain_reading_of_what_is_stored(related):
    predicted = np.flatnonzero(related.references.gain)
    assert len(predicted) > 100
    ids = torch.from_numpy(predicted[:: len(predicted) // 8])
    for row, found in zip(ids.tolist(), related.rows(ids)):
        np.testing.assert_allclose(found.numpy(), decoded(related, row), rtol=1e-4, atol=1e-5)


def batches(matrix):
    """Batches of ids, by what may go wrong in them."""
    n = matrix.shape[0]
    generator = torch.Generator().manual_seed(0)
    predicted = torch.from_numpy(np.flatnonzero(matrix.references.gain))
    references = torch.from_numpy(matrix.references.row)[predicted]
    return {
        "none": torch.empty(0, dtype=torch.int64),
        "one": torch.tensor([n - 1]),
        "all, backwards": torch.arange(n).flip(0),
        "repeated": torch.randint(n // 4, (n,), generator=generator),
        "predicted": predicted,
        "references after the rows that they predict": torch.cat([predicted, references]),
        "references before": torch.cat([references, predicted, predicted]),
    }


@pytest.mark.parametrize("name", ["compressed", "related", "version_1", "version_2"])
def test_a_row_is_the_same_in_every_batch(name, request):
    """Rows are decoded side by side, and once if they are needed several times."""
    matrix = request.getfixturevalue(name)
    alone = torch.cat([matrix._coordinates(i) for i in torch.arange(matrix.shape[0])[:, None]])
    for label, ids in batches(matrix).items():
        assert torch.equal(matrix._coordinates(ids), alone[ids]), label
        assert matrix.rows(ids).shape == (len(ids), matrix.shape[1])
    single = torch.cat([matrix.rows(i) for i in torch.arange(matrix.shape[0])[:, None]])
    torch.testing.assert_close(matrix.dense(), single)


def test_ids_out_of_range_are_refused(compressed):
    for outside in (-1, 600):
        with pytest.raises(IndexError):
            compressed.rows(torch.tensor([3, outside]))


@pytest.fixture(scope="module")
def version_1():
    """The golden matrix of version 1."""
    return storage.load(Path(__file__).parent / "golden" / "entropy_coded")


def test_rows_longer_than_a_stream_of_version_1_are_refused(version_1, tmp_path):
    storage.save(version_1, tmp_path)
    forged = storage.load(tmp_path)
    records = -(-40 * (TIER_BITS + NORM_BITS + forged.length_bits) // 16) * 2
    forged.stream[:records] = 255
    storage.save(forged, tmp_path)
    with pytest.raises(UserError, match="rows are longer than the stream"):
        storage.load(tmp_path)


@pytest.mark.parametrize(
    ("place", "first_words"),
    [(0, (255, 255)), (0, (3, 0)), (0, (0, 0)), (4, (255, 255)), (4, (3, 0))],
)
def test_parts_that_are_damaged_are_refused(compressed, tmp_path, place, first_words):
    """The number of words of the records, or of the basis, is too large, or they are cut."""
    storage.save(compressed, tmp_path)
    forged = storage.load(tmp_path)
    forged.stream[place : place + 4] = torch.tensor([*first_words, *first_words])
    storage.save(forged, tmp_path)
    with pytest.raises(UserError, match="longer than the stream"):
        storage.load(tmp_path)


def test_an_unknown_version_is_refused(compressed, tmp_path):
    storage.save(compressed, tmp_path)
    header = storage.read_json(tmp_path / storage.HEADER)
    header["config"]["version"] = 4
    (tmp_path / storage.HEADER).write_text(json.dumps(header))
    with pytest.raises(UserError, match="version 4.*update"):
        storage.load(tmp_path)


@pytest.fixture(scope="module")
def version_2():
    """The golden matrix of version 2."""
    return storage.load(Path(__file__).parent / "golden" / "entropy_coded_2")


@pytest.mark.parametrize("name", ["compressed", "version_1", "version_2"])
def test_random_bytes_decode_to_something_or_are_refused(name, request):
    """Nothing outside the stream is read, whatever it says."""
    compressed = request.getfixturevalue(name)
    for seed in range(200):
        generator = torch.Generator().manual_seed(seed)
        forged = EntropyCoded(compressed.shape, **compressed.config())
        forged.load_state_dict(compressed.state_dict())
        for name in ("stream", "spread", "offset", "shift"):
            buffer = getattr(forged, name)
            chosen = torch.rand(buffer.shape, generator=generator) < 0.02
            buffer[chosen] = torch.randint(-128, 128, (int(chosen.sum()),), generator=generator).to(
                buffer.dtype
            )
        try:
            forged.prepare()
            assert forged.rows(torch.arange(len(compressed.length))).shape == compressed.shape
        except (ValueError, UserError) as error:
            assert "longer than" in str(error) or "damaged" in str(error)
