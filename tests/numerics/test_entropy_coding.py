import numpy as np
import pytest

from embpress.numerics.entropy_coding import (
    LOWEST,
    PRECISION,
    SLOTS,
    encode,
    init_decoder,
    max_encoded_words,
    renormalize,
)


def coded(symbols, frequencies):
    """Words of a sequence of one table's symbols."""
    frequencies = np.asarray(frequencies, dtype=np.int64)
    starts = np.cumsum(frequencies) - frequencies
    words = np.empty(max_encoded_words(len(symbols)), dtype=np.uint16)
    return words[: encode(frequencies[symbols], starts[symbols], words)]


def decoded(words, d, frequencies):
    """Symbols out of words that lie among others, which must not be read."""
    frequencies = np.asarray(frequencies, dtype=np.int64)
    starts = np.cumsum(frequencies) - frequencies
    symbol_of = np.repeat(np.arange(len(frequencies)), frequencies)
    around = np.concatenate([[7], words, [9, 9, 9]]).astype(np.uint16)
    end = 1 + len(words)
    state, position = init_decoder(around, 1, end)
    found = []
    for _ in range(d):
        slot = state & (SLOTS - 1)
        found.append(symbol_of[slot])
        state = int(frequencies[found[-1]] * (state >> PRECISION) + slot - starts[found[-1]])
        state, position = renormalize(state, around, position, end)
    assert (
        position == end and state == 1 or len(words) == 0
    )  # all is read, and the coder's first state is left
    return np.array(found)


TABLES = [[2048, 2048], [4095, 1], [1, 4095], [4096], [1000, 3000, 90, 5, 1], [16] * 256]


@pytest.mark.parametrize("frequencies", TABLES)
@pytest.mark.parametrize("d", [1, 7, 300])
def test_round_trip(frequencies, d):
    generator = np.random.default_rng(0)
    for chances in (
        np.asarray(frequencies) / SLOTS,
        np.full(len(frequencies), 1 / len(frequencies)),
    ):
        for _ in range(10):
            symbols = generator.choice(len(frequencies), d, p=chances)
            assert (decoded(coded(symbols, frequencies), d, frequencies) == symbols).all()


def test_length_is_near_the_entropy():
    frequencies = np.array([3000, 900, 150, 40, 6])
    symbols = np.random.default_rng(2).choice(5, 4000, p=frequencies / SLOTS)
    bits = -np.log2(frequencies[symbols] / SLOTS).sum()
    assert bits - 1 <= 16 * len(coded(symbols, frequencies)) <= bits + 32


def test_what_is_certain_takes_no_words():
    words = coded(np.zeros(100, dtype=np.int64), [4096])
    assert len(words) == 0
    assert (decoded(words, 100, [4096]) == 0).all()


def test_the_rarest_symbols_fit_the_words_that_are_set_aside():
    assert len(coded(np.ones(1000, dtype=np.int64), [4095, 1])) <= max_encoded_words(1000)


def test_golden_words():
    """Other versions and machines must read what is on disk."""
    symbols = np.array([0, 1, 2, 0, 0, 1, 2, 2, 1, 0, 0, 0])
    assert LOWEST == 1 << 32
    assert coded(symbols, [2500, 1500, 96]).tolist() == [1, 35208, 25181]
    assert coded(symbols[::-1], [2500, 1500, 96]).tolist() == [4, 7927, 53845]
