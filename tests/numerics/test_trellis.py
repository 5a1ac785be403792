import itertools

import numpy as np
import pytest

from embpress.numerics.trellis import (
    BRANCH,
    FROM,
    NEXT,
    POLYNOMIALS,
    STATES,
    cheapest_path,
    level,
    nearest_size,
    transitions,
)


def follow(indices):
    """The levels that a sequence of indices stands for, as the decoder walks."""
    state = 0
    levels = []
    for index in indices:
        levels.append(level(int(index), state & 1))
        state = int(NEXT[state, index & 1])
    return levels


def candidates(samples):
    """The nearest index of each branch, (d, 4), and its squared error."""
    sizes = np.array(
        [[nearest_size(abs(sample), branch) for branch in range(4)] for sample in samples]
    )
    levels = np.array(
        [[level(int(size), branch >> 1) for branch, size in enumerate(row)] for row in sizes]
    )
    costs = (np.abs(samples)[:, None] - levels) ** 2
    return (np.sign(samples)[:, None] * sizes).astype(int), costs.astype(np.float32)


def path(costs):
    branch = np.empty(len(costs), dtype=np.uint8)
    cheapest_path(costs, np.empty(len(costs), dtype=np.uint32), branch)
    return branch


@pytest.mark.parametrize("states", POLYNOMIALS)
def test_every_state_is_entered_and_left_twice(states):
    following = transitions(states)
    assert sorted(following.flatten().tolist()) == sorted(2 * list(range(states)))
    assert all(a != b for a, b in following)


def test_the_trellis_of_version_1_is_kept():
    """Streams of version 1 decode with it."""
    wanted = [[0, 2], [5, 7], [1, 3], [4, 6], [2, 0], [7, 5], [3, 1], [6, 4]]
    assert transitions(8).tolist() == wanted


@pytest.mark.parametrize("branch", range(4))
def test_nearest_size_against_all_levels(branch):
    every = np.array([k for k in range(40) if k % 2 == branch & 1])
    levels = np.array([level(int(k), branch >> 1) for k in every])
    for size in np.abs(np.random.default_rng(0).normal(scale=6, size=500)):
        found = nearest_size(size, branch)
        assert found % 2 == branch & 1
        assert abs(size - level(found, branch >> 1)) == pytest.approx(np.abs(size - levels).min())


def test_levels_are_odd_functions_of_the_index():
    for quantizer, index in itertools.product((0, 1), range(1, 9)):
        assert level(-index, quantizer) == -level(index, quantizer) == quantizer - 2 * index
    assert level(0, 0) == level(0, 1) == 0


def test_cheapest_path_against_exhaustive_search():
    """Of all sequences of branches that the machine allows, none is cheaper."""
    generator = np.random.default_rng(1)
    for _ in range(5):
        costs = generator.random((6, 4), dtype=np.float32)
        allowed = {}
        for parities in itertools.product((0, 1), repeat=len(costs)):
            state = 0
            branches = []
            for parity in parities:
                branches.append(2 * (state & 1) + parity)
                state = int(NEXT[state, parity])
            allowed[tuple(branches)] = costs[np.arange(len(costs)), branches].sum()
        found = allowed[tuple(path(costs).tolist())]  # a KeyError if the machine does not allow it
        assert found == pytest.approx(min(allowed.values()), abs=1e-5)


@pytest.mark.parametrize("scale", [1, 2, 1e6])
def test_of_equal_paths_the_one_of_lower_states_is_taken(scale):
    """State by state in float32: codes that were written before are found again."""
    costs = np.random.default_rng(5).integers(0, 3, (80, 4)).astype(np.float32) / 3 * scale
    costs[::9, 1] = np.inf
    total = np.full(STATES, np.inf, dtype=np.float32)
    total[0] = 0
    taken = []
    for cost in costs:
        first, second = (total[FROM[:, k]] + cost[BRANCH[:, k]] for k in (0, 1))
        taken.append(second < first)
        total = np.where(taken[-1], second, first)
    state = int(total.argmin())
    wanted = []
    for is_second in taken[::-1]:
        way = int(is_second[state])
        wanted.append(BRANCH[state, way])
        state = FROM[state, way]
    assert path(costs).tolist() == wanted[::-1]


def test_gain_over_rounding_at_the_density_of_its_indices():
    """Uniform samples: of the 1.53 dB that a scalar quantizer loses the trellis saves 1.2 dB."""
    samples = 400 * (np.random.default_rng(2).random(16384) - 0.5)
    _, costs = candidates(samples)
    error = costs[np.arange(len(costs)), path(costs)].mean()
    assert 1.1 < 10 * np.log10((4 / 12) / error) < 1.53


def test_decoder_walks_as_the_encoder_did():
    samples = np.random.default_rng(3).normal(scale=4, size=60)
    indices, costs = candidates(samples)
    branch = path(costs)
    index = indices[np.arange(len(indices)), branch]
    assert follow(index) == [level(int(k), int(b) >> 1) for k, b in zip(index, branch)]
