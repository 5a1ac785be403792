import numpy as np
import pytest

from embpress.entropy_coding import LOWEST, PRECISION, decode, encode


def coded(symbols, frequencies):
    """Words and lengths of sequences (d, n) of one table's symbols."""
    frequencies = np.asarray(frequencies, dtype=np.int64)
    starts = np.cumsum(frequencies) - frequencies
    return encode(frequencies[symbols], starts[symbols])


def decoded(words, length, d, frequencies):
    frequencies = np.asarray(frequencies, dtype=np.int64)
    starts = np.cumsum(frequencies) - frequencies
    entry_symbol = np.repeat(np.arange(len(frequencies)), frequencies)
    found = np.empty((d, len(length)), dtype=np.int64)

    def look_up(j, slot):
        found[j] = entry_symbol[slot]
        return slot

    offset = np.arange(1 << PRECISION) - starts[entry_symbol]
    decode(words, np.cumsum(length) - length, length, d, look_up, frequencies[entry_symbol], offset)
    return found


TABLES = [[2048, 2048], [4095, 1], [1, 4095], [4096], [1000, 3000, 90, 5, 1], [16] * 256]


@pytest.mark.parametrize("frequencies", TABLES)
@pytest.mark.parametrize("d", [1, 7, 300])
def test_round_trip(frequencies, d):
    generator = np.random.default_rng(0)
    for chances in (np.asarray(frequencies) / 4096, np.full(len(frequencies), 1 / len(frequencies))):
        symbols = generator.choice(len(frequencies), (d, 40), p=chances)
        words, length = coded(symbols, frequencies)
        assert words.dtype == np.uint16 and length.sum() == len(words)
        assert (decoded(words, length, d, frequencies) == symbols).all()


def test_sequences_decode_alone_and_in_any_order():
    symbols = np.random.default_rng(1).integers(0, 2, (50, 9))
    words, length = coded(symbols, [2048, 2048])
    first = np.cumsum(length) - length
    for sequence in (8, 0, 4):
        some = words[first[sequence] : first[sequence] + length[sequence]]
        assert (decoded(some, length[[sequence]], 50, [2048, 2048])[:, 0] == symbols[:, sequence]).all()


def test_length_is_near_the_entropy():
    frequencies = np.array([3000, 900, 150, 40, 6])
    symbols = np.random.default_rng(2).choice(5, (4000, 20), p=frequencies / 4096)
    bits = -np.log2(frequencies[symbols] / 4096).sum(0)
    _, length = coded(symbols, frequencies)
    assert (16 * length >= bits - 1).all()
    assert (16 * length <= bits + 32).all()


def test_what_is_certain_takes_no_words():
    words, length = coded(np.zeros((100, 3), dtype=np.int64), [4096])
    assert len(words) == 0 and (length == 0).all()
    assert (decoded(words, length, 100, [4096]) == 0).all()


def test_golden_words():
    """Other versions and machines must read what is on disk."""
    symbols = np.array([[0, 1, 2, 0, 0, 1, 2, 2, 1, 0, 0, 0]]).T.repeat(2, 1)
    symbols[:, 1] = symbols[::-1, 0]
    words, length = coded(symbols, [2500, 1500, 96])
    assert LOWEST == 1 << 32
    assert (words.tolist(), length.tolist()) == GOLDEN


GOLDEN = ([1, 35208, 25181, 4, 7927, 53845], [3, 3])
