"""Trellis-coded quantisation with an entropy-coding cost: which levels, and how the decoder follows
them.

Two quantisers share the integers as levels: Q0 has the even ones, 2 k; Q1 the odd ones and 0, 2 k -
sign(k). A machine of 8 states says which one codes a sample, and the parity of each index k moves
it on (Ungerboeck's code of rate 1/2, octal polynomials 13 and 04). Levels lie as dense as one
quantiser's of half the step, indices cost as much as one's of the whole
step: about 1 dB nearer to the rate-distortion bound than a scalar quantiser (Marcellin and Fischer
1990; with entropy coding Fischer and Wang 1992; zero in both quantisers, for low rates, as in
Joshi, Crump and Fischer 1995).
"""

import numpy as np

from .compiled import compiled

STATES = 8


def _transitions() -> np.ndarray:
    """Next state by state and parity, (STATES, 2). The state's lowest bit is the quantiser."""
    feedback = 0o13
    forward = 0o04
    bits = 3
    table = np.zeros((STATES, 2), dtype=np.int64)
    for state in range(STATES):
        for parity in (0, 1):
            lowest = state & 1
            for i in range(bits):
                shifted = state >> (i + 1) & 1
                table[state, parity] |= (
                    shifted ^ (forward >> (i + 1) & parity) ^ (feedback >> (i + 1) & lowest)
                ) << i
    return table


NEXT = _transitions()

# Each state is entered from two others: (STATES, 2) states, and the branches (2 x quantiser +
# parity) taken from them.
_ENTRIES = [
    [(s, p) for s in range(STATES) for p in (0, 1) if NEXT[s, p] == state]
    for state in range(STATES)
]
FROM = np.array([[s for s, _ in pair] for pair in _ENTRIES])
BRANCH = np.array([[2 * (s & 1) + p for s, p in pair] for pair in _ENTRIES])


@compiled
def level(index: int, quantiser: int) -> int:
    """Level of an index, in units of the step: 2 k, or in quantiser 1 nearer to 0 by one."""
    if index > 0:
        return 2 * index - quantiser
    return 2 * index + quantiser if index else 0


@compiled
def nearest_size(size: float, branch: int) -> int:
    """Size of the index whose level is nearest to +-size.

    Among those of a branch (2 x quantiser + parity); size >= 0.
    """
    if branch == 0:
        return 2 * int(size / 4 + 0.5)
    if branch == 1:
        return 2 * max(int((size - 2) / 4 + 0.5), 0) + 1
    if branch == 2:  # levels 0, 3, 7, ...; of branch 3 they are 1, 5, 9, ...
        return 0 if size < 1.5 else 2 * int((size + 1) / 4 + 0.5)
    return 2 * max(int((size - 1) / 4 + 0.5), 0) + 1


@compiled
def cheapest_path(costs: np.ndarray, taken: np.ndarray, branch: np.ndarray) -> None:
    """The sequence of branches of least total cost that the machine allows, starting in state 0
    (Viterbi).

    Args:
        costs: float32 (d, 4), what each branch costs at each sample.
        taken: uint8 (d,), scratch.
        branch: uint8 (d,), filled with the branch at each sample.
    """
    total = np.full(STATES, np.inf, dtype=np.float32)
    total[0] = 0
    after = np.empty_like(total)
    for j in range(len(costs)):
        ways = 0
        for state in range(STATES):
            first = total[FROM[state, 0]] + costs[j, BRANCH[state, 0]]
            second = total[FROM[state, 1]] + costs[j, BRANCH[state, 1]]
            if second < first:
                ways |= 1 << state
                first = second
            after[state] = first
        taken[j] = ways
        total, after = after, total
    state = int(total.argmin())
    for j in range(len(costs) - 1, -1, -1):
        way = taken[j] >> state & 1
        branch[j] = BRANCH[state, way]
        state = FROM[state, way]
