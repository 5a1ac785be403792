"""Properties of the codebooks that their papers state, and searches against a full one."""

import numpy as np
import pytest

from embpress.numerics.e8_lattice import (
    e8_short_codewords,
    e8p_codewords,
    e8p_patterns,
    nearest_e8p,
    nearest_short,
)


def in_e8(points):
    """Whether points are all integers or all odd halves, with an even sum."""
    doubled = np.rint(2 * points).astype(int)
    alike = (doubled % 2 == doubled[:, :1] % 2).all(1)
    exact = np.allclose(2 * points, doubled)
    return exact and bool((alike & (doubled.sum(1) % 4 == 0)).all())


def test_patterns_are_those_of_squared_norm_10_and_29_of_12():
    norms = (e8p_patterns() ** 2).sum(1)
    assert len(np.unique(e8p_patterns(), axis=0)) == 256
    assert ((norms <= 10).sum(), (norms == 12).sum()) == (227, 29)


def test_codewords_are_distinct_points_of_the_shifted_lattice():
    codewords = e8p_codewords()
    assert codewords.shape == (65536, 8)
    assert len(np.unique(codewords, axis=0)) == 65536
    assert in_e8(codewords - 0.25)


def test_short_codewords_are_the_shortest_points_of_the_lattice():
    codewords = e8_short_codewords()
    norms = (codewords**2).sum(1)
    assert len(np.unique(codewords, axis=0)) == 256
    assert in_e8(codewords)
    assert [(norms == n).sum() for n in (0, 2, 4)] == [1, 240, 15]


@pytest.mark.parametrize("scale", [0.5, 1, 3])
def test_the_nearest_codeword_is_found(scale):
    vectors = np.random.default_rng(0).standard_normal((300, 8)).astype(np.float32)
    vectors *= np.float32(scale)
    vectors[0] = 0
    for codewords, codes in (
        (e8p_codewords(), nearest_e8p(vectors)),
        (e8_short_codewords(), nearest_short(vectors)),
    ):
        wanted = ((vectors[:, None].astype(float) - codewords[None]) ** 2).sum(2)
        found = wanted[np.arange(len(vectors)), codes]
        np.testing.assert_allclose(found, wanted.min(1), rtol=1e-5, atol=1e-5)
