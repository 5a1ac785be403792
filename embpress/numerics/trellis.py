"""Trellis-coded quantization with an entropy-coding cost: search of the best path, and the trellis.

Two quantizers share the integers as levels: Q0 has the even ones, 2 k; Q1 has the odd ones and 0,
2 k - sign(k). A trellis of `STATES` states decides which quantizer codes a sample, and the parity
of each index k selects the next state (Ungerboeck 1982, codes of rate 1/2 for amplitude
modulation). The levels are as dense as those of a scalar quantizer of half the step, while the
indices cost as many bits as those of one of the whole step: this is about 1.2 dB closer to the
rate-distortion bound than scalar quantization (Marcellin and Fischer 1990; with entropy coding
Fischer and Wang 1992; 0 in both quantizers, for low rates, as in Joshi, Crump and Fischer 1995).
"""

import numpy as np

from .compiled import compiled

STATES = 32
"""States of the trellis that quantizes."""
POLYNOMIALS = {
    8: (0o13, 0o04),
    16: (0o23, 0o04),
    32: (0o45, 0o10),
    64: (0o103, 0o024),
    128: (0o235, 0o126),
    256: (0o515, 0o362),
}
"""Feedback and forward polynomials by number of states (Ungerboeck 1982, table I)."""


def transitions(states: int) -> np.ndarray:
    """Next state by state and parity: (states, 2). The lowest bit of a state is the quantizer."""
    feedback, forward = POLYNOMIALS[states]
    state = np.arange(states)[:, None]
    parity = np.arange(2)
    return state >> 1 ^ (forward >> 1) * parity ^ (feedback >> 1) * (state & 1)


NEXT = transitions(STATES)

# Two transitions enter each state. (STATES, 2): their origins, and their branches, 2 x quantizer +
# parity.
_ENTRIES = [
    [(s, p) for s in range(STATES) for p in (0, 1) if NEXT[s, p] == state]
    for state in range(STATES)
]
FROM = np.array([[s for s, _ in pair] for pair in _ENTRIES])
BRANCH = np.array([[2 * (s & 1) + p for s, p in pair] for pair in _ENTRIES])


@compiled
def level(index: int, quantizer: int) -> int:
    """Level of an index k in half steps: 2 k in quantizer 0, 2 k - sign(k) in quantizer 1."""
    if index > 0:
        return 2 * index - quantizer
    return 2 * index + quantizer if index else 0


@compiled
def nearest_size(size: float, branch: int) -> int:
    """Absolute value of the index of a branch whose level is nearest to a size >= 0.

    A branch, 2 x quantizer + parity, has the indices of one parity of one quantizer.
    """
    if branch == 0:
        return 2 * int(size / 4 + 0.5)
    if branch == 1:
        return 2 * max(int((size - 2) / 4 + 0.5), 0) + 1
    if branch == 2:  # levels 0, 3, 7, ...; those of branch 3 are 1, 5, 9, ...
        return 0 if size < 1.5 else 2 * int((size + 1) / 4 + 0.5)
    return 2 * max(int((size - 1) / 4 + 0.5), 0) + 1


@compiled
def cheapest_path(costs: np.ndarray, taken: np.ndarray, branch: np.ndarray) -> None:
    """Find the path of least total cost through the trellis from state 0 (Viterbi algorithm).

    Args:
        costs: float32 (d, 4), cost of each branch at each sample.
        taken: uint8 (d, STATES), scratch: which of its two transitions enters each state.
        branch: uint8 (d,), output: the branch at each sample.
    """
    total = np.full(STATES, np.inf, dtype=np.float32)
    total[0] = 0
    after = np.empty_like(total)
    for j in range(len(costs)):
        for state in range(STATES):
            first = total[FROM[state, 0]] + costs[j, BRANCH[state, 0]]
            second = total[FROM[state, 1]] + costs[j, BRANCH[state, 1]]
            taken[j, state] = second < first
            after[state] = min(first, second)
        total, after = after, total
    state = int(total.argmin())
    for j in range(len(costs) - 1, -1, -1):
        way = taken[j, state]
        branch[j] = BRANCH[state, way]
        state = FROM[state, way]
