"""The search against all paths of a short sequence, and the published error of the code."""

import itertools

import numpy as np
import pytest

from embpress.numerics.bitshift_trellis import (
    LANES,
    SEARCH,
    code_values,
    encode_sequences,
    state_width,
)


def states_of(codes, k, width):
    """States of a sequence of codes whose bits bite their tail."""
    bits = [code >> i & 1 for code in codes for i in range(k - 1, -1, -1)]
    states = []
    for t in range(len(codes)):
        end = (t + 1) * k
        window = [bits[(end - width + i) % len(bits)] for i in range(width)]
        states.append(int("".join(map(str, window)), 2))
    return np.array(states)


def test_the_code_is_that_of_the_paper():
    """1MAD of some states, with Python's integers."""
    values = code_values(16)
    for state in (0, 1, 12345, 65535):
        mixed = (34038481 * state + 76625530) % 2**32
        total = sum(mixed.to_bytes(4, "little"))
        assert values[state] == pytest.approx((total - 510) / 147.8, rel=1e-6)
    assert abs(values.mean()) < 0.01 and values.std() == pytest.approx(1, abs=0.01)


@pytest.mark.parametrize(("k", "width", "d"), [(1, 4, 9), (2, 5, 5), (3, 3, 3), (4, 6, 3)])
def test_the_search_finds_the_best_of_all_paths_between_the_same_ends(k, width, d):
    samples = np.random.default_rng(k).standard_normal((d, LANES)).astype(np.float32)
    values = code_values(width)
    prefixes = 1 << (width - k)
    ends = np.arange(LANES) % prefixes
    found = SEARCH[k](samples, values, width, ends)
    for lane in range(LANES):
        best = np.inf
        for codes in itertools.product(range(1 << k), repeat=d):
            state = ends[lane]
            error = 0.0
            for t, code in enumerate(codes):
                state = (int(state) << k | code) % (1 << width)
                error += (samples[t, lane] - values[state]) ** 2
            if state % prefixes == ends[lane]:
                best = min(best, error)
        error = ((samples[:, lane] - values[found[:, lane]]) ** 2).sum()
        assert error == pytest.approx(best, rel=1e-5)


@pytest.mark.parametrize(("k", "d"), [(2, 2), (1, 7), (2, 3), (3, 40), (4, 31)])
def test_codes_give_the_states_that_were_searched(k, d):
    """A sequence takes k bits a sample and no more: its states follow from its codes alone."""
    width = state_width(8, k, d)
    sequences = np.random.default_rng(0).standard_normal((20, d)).astype(np.float32)
    codes = encode_sequences(sequences, k, width)
    assert codes.shape == (20, d) and codes.max() < 1 << k
    values = code_values(width)
    decoded = np.stack([values[states_of(row, k, width)] for row in codes])
    assert ((decoded - sequences) ** 2).mean() < (sequences**2).mean()


@pytest.mark.parametrize(("state_bits", "most"), [(10, 0.0785), (12, 0.0752)])
def test_the_error_nears_that_of_the_paper_as_states_grow(state_bits, most):
    """QTIP's Table 1 has 0.069 at 16 bits and 2 bits a weight, too slow a search for a test."""
    n = 64 if state_bits == 10 else 32
    sequences = np.random.default_rng(1).standard_normal((n, 256)).astype(np.float32)
    codes = encode_sequences(sequences, 2, state_bits)
    values = code_values(state_bits)
    decoded = np.stack([values[states_of(row, 2, state_bits)] for row in codes])
    error = ((decoded - sequences) ** 2).mean()
    assert 0.069 < error < most * 1.01
