import numpy as np
import pytest

from embpress.numerics.entropy_coding import SLOTS
from embpress.numerics.index_tables import (
    CLASSES,
    COUNT,
    LARGEST_INDEX,
    LOW_BITS,
    MIDDLE,
    OCTAVE,
    SYMBOLS,
    UNIT,
    WIDTH,
    IndexTables,
    count_active,
    fit_frequencies,
    high_part,
    join_index,
    laplace_probabilities,
    raw_part,
    split_spread_class,
)


@pytest.mark.parametrize("low", range(6))
def test_parts_join_to_the_index(low):
    for index in range(-300, 301):
        high = high_part(index, low)
        raw = raw_part(index, low)
        assert join_index(high, raw, low) == index
        assert 0 <= raw < 1 << low


def test_classes_split_into_a_table_and_low_bits_of_the_same_spread():
    spreads = range(-5, CLASSES + OCTAVE * LOW_BITS)
    split = [split_spread_class(spread) for spread in spreads]
    for spread, (table, low) in zip(spreads, split):
        assert table + OCTAVE * low == max(spread, 0)
        assert low == 0 or spread >= CLASSES
    assert {table for table, _ in split} == set(range(CLASSES)) and {
        low for _, low in split
    } == set(range(LOW_BITS + 1))


def test_coded_coordinates_end_with_the_last_that_a_table_codes():
    spread = np.array([9, 4, -3, 6, 0, 2])
    for more in range(-12, 4):
        coded = [j for j in range(6) if split_spread_class(int(spread[j]) + more)[0]]
        assert count_active(spread, more) == (coded[-1] + 1 if coded else 0)


@pytest.mark.parametrize("table", range(1, CLASSES))
def test_expected_chances_are_the_shares_of_laplace_samples(table):
    spread = 2 * 2 ** ((table - UNIT) / OCTAVE)
    samples = np.random.default_rng(table).laplace(scale=spread / 2**0.5, size=200_000)
    # Quantizer 0 has the even levels, quantizer 1 the odd ones and 0: nearest ones, counted.
    for quantizer, size in ((0, np.abs(samples) / 2), (1, (np.abs(samples) + 1) / 2)):
        index = (
            np.round(size)
            if quantizer == 0
            else np.where(np.abs(samples) < 0.5, 0, np.maximum(1, np.round(size)))
        )
        wanted = [
            np.mean(index == k) / (1 if k == 0 else 2) for k in range(min(4, LARGEST_INDEX[table]))
        ]
        np.testing.assert_allclose(
            laplace_probabilities(quantizer, table)[: len(wanted)], wanted, atol=5e-3
        )


def test_tables_hold_every_index_and_fill_all_slots():
    counts = np.random.default_rng(0).integers(0, 50, (2, CLASSES, WIDTH))
    stored = fit_frequencies(counts)
    assert stored.shape == (2, COUNT) and int(stored.min()) >= 1
    tables = IndexTables(stored)
    assert (tables.frequency.sum(2) == SLOTS).all()
    for table in range(CLASSES):
        held = np.flatnonzero(tables.frequency[0, table]) - WIDTH // 2
        assert held.tolist() == list(range(-LARGEST_INDEX[table], LARGEST_INDEX[table] + 1))
    slots = np.arange(SLOTS)
    for quantizer, table in ((0, 5), (1, 21), (0, 0)):
        symbols = tables.symbols[(2 * table + quantizer) * SLOTS + slots].astype(np.int64)
        intervals = tables.intervals[(2 * table + quantizer) * SYMBOLS + symbols].astype(np.int64)
        place = symbols - MIDDLE + WIDTH // 2
        starts = tables.start[quantizer, table, place]
        frequency = tables.frequency[quantizer, table, place]
        assert (starts <= slots).all() and (slots < starts + frequency).all()
        assert (intervals == frequency + (starts << 16)).all()


def test_frequencies_follow_the_counts():
    counts = np.zeros((2, CLASSES, WIDTH))
    middle = WIDTH // 2
    counts[0, 12, middle - 1 : middle + 2] = [30_000, 40_000, 30_000]
    frequency = IndexTables(fit_frequencies(counts)).frequency[0, 12] / SLOTS
    np.testing.assert_allclose(frequency[middle - 1 : middle + 2], [0.3, 0.4, 0.3], atol=0.01)
