"""Bases are decoded exactly, are orthogonal however roughly they are rounded, and damage is met."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from embpress.numerics import orthogonal_basis
from embpress.numerics.orthogonal_basis import (
    COARSEST,
    FINEST,
    decode_basis,
    encode_basis,
    orthogonal_columns,
    round_reflections,
)


def axes_of(d, seed=0):
    return np.linalg.qr(np.random.default_rng(seed).normal(size=(d, d)))[0]


@given(st.lists(st.integers(FINEST, COARSEST), min_size=1, max_size=24), st.integers(0, 99))
@settings(max_examples=60, deadline=None)
def test_any_steps_give_an_orthogonal_matrix_that_is_decoded_exactly(exponents, seed):
    steps = np.array(exponents, dtype=np.int64)
    codes = round_reflections(axes_of(len(steps), seed), steps)
    columns = orthogonal_columns(codes, steps)
    assert np.array_equal(decode_basis(encode_basis(codes, steps), len(steps)), columns)
    np.testing.assert_allclose(columns @ columns.T, np.eye(len(steps)), atol=1e-12)


def test_columns_are_the_axes_up_to_signs_and_the_steps():
    axes = axes_of(40)
    for exponent in (-48, -24):
        steps = np.full(40, exponent)
        columns = orthogonal_columns(round_reflections(axes.copy(), steps), steps)
        cosines = np.abs((columns * axes.T).sum(0))
        angles = np.sqrt((1 - cosines**2).clip(0))
        # 39 rounding errors of at most half a step, about twice as large in v's scale.
        assert angles.max() < 2 * 40**0.5 * 2 ** (exponent / 4)


def test_parts_are_decoded_in_turn(monkeypatch):
    monkeypatch.setattr(orthogonal_basis, "PART", 100)
    steps = np.full(30, -20)
    codes = round_reflections(axes_of(30), steps)
    decoded = decode_basis(encode_basis(codes, steps), 30)
    assert np.array_equal(decoded, orthogonal_columns(codes, steps))


def test_a_basis_rounded_to_zeros_takes_next_to_no_bits():
    steps = np.full(64, COARSEST)
    codes = round_reflections(axes_of(64), steps)
    assert not codes.any() and len(encode_basis(codes, steps)) < 40


@given(st.lists(st.integers(0, 0xFFFF), max_size=40), st.integers(1, 12))
@settings(max_examples=60, deadline=None)
def test_words_that_are_no_basis_give_some_orthogonal_matrix_or_are_refused(words, d):
    try:
        columns = decode_basis(np.array([3, 0, *words], dtype=np.uint16), d)
    except ValueError as error:
        assert "stream" in str(error)
        return
    np.testing.assert_allclose(columns @ columns.T, np.eye(d), atol=1e-6)


def test_a_basis_that_is_cut_is_refused():
    steps = np.full(8, -20)
    words = encode_basis(round_reflections(axes_of(8), steps), steps)
    with pytest.raises(ValueError, match="longer than the stream"):
        decode_basis(words[:-1], 8)
