"""Trellis-coded quantisation with an entropy-coding cost: which levels, and how the decoder follows them.

Two quantisers share the integers as levels: Q0 has the even ones, 2 k; Q1 the odd ones and 0, 2 k - sign(k). A machine of
8 states says which one codes a sample, and the parity of each index k moves it on (Ungerboeck's code of rate 1/2, octal
polynomials 13 and 04). Levels lie as dense as one quantiser's of half the step, indices cost as much as one's of the whole
step: about 1 dB nearer to the rate-distortion bound than a scalar quantiser (Marcellin and Fischer 1990; with entropy
coding Fischer and Wang 1992; zero in both quantisers, for low rates, as in Joshi, Crump and Fischer 1995).
"""

import torch
from torch import Tensor

STATES = 8


def _transitions() -> Tensor:
    """Next state by state and parity, (STATES, 2). The state's lowest bit is the quantiser."""
    feedback, forward, bits = 0o13, 0o04, 3
    table = torch.zeros(STATES, 2, dtype=torch.int64)
    for state in range(STATES):
        for parity in (0, 1):
            lowest = state & 1
            for i in range(bits):
                shifted = state >> (i + 1) & 1
                table[state, parity] |= (shifted ^ (forward >> (i + 1) & parity) ^ (feedback >> (i + 1) & lowest)) << i
    return table


NEXT = _transitions()

# Each state is entered from two others: (STATES, 2) states, and the branches (2 x quantiser + parity) taken from them.
_ENTRIES = [[(s, p) for s in range(STATES) for p in (0, 1) if int(NEXT[s, p]) == state] for state in range(STATES)]
FROM = torch.tensor([[s for s, _ in pair] for pair in _ENTRIES])
BRANCH = torch.tensor([[2 * (s & 1) + p for s, p in pair] for pair in _ENTRIES])


def level(index: Tensor, quantiser: Tensor) -> Tensor:
    """Levels of indices, in units of the step: 2 k, or in quantiser 1 nearer to 0 by one."""
    return 2 * index - quantiser * index.sign()


def nearest_indices(samples: Tensor) -> Tensor:
    """Nearest index of each quantiser and parity: (d, n) samples in units of the step to int32 (d, 4, n)."""
    size = samples.abs()
    even = 2 * (size / 4).round()
    odd = 2 * ((size - 2) / 4).round().clamp_min(0) + 1
    # Quantiser 1, even indices: levels 0, 3, 7, ...; odd ones: 1, 5, 9, ...
    inner_even = torch.where(size < 1.5, 0, 2 * ((size + 1) / 4).round())
    inner_odd = 2 * ((size - 1) / 4).round().clamp_min(0) + 1
    return torch.stack([k.copysign(samples) for k in (even, odd, inner_even, inner_odd)], dim=1).to(torch.int32)


def cheapest_path(indices: Tensor, costs: Tensor) -> tuple[Tensor, Tensor]:
    """The sequence of indices of least total cost that the machine allows, starting in state 0 (Viterbi).

    Args:
        indices: int32 (d, 4, n), one candidate a branch, for n sequences of d samples.
        costs: float32 (d, 4, n) of them.

    Returns:
        Indices and which quantiser coded each, int64 (d, n) both.
    """
    d, _, n = costs.shape
    total = torch.full((STATES, n), torch.inf)
    total[0] = 0
    taken = torch.empty(d, STATES, n, dtype=torch.bool)
    for j in range(d):
        first, second = (total[FROM[:, way]] + costs[j, BRANCH[:, way]] for way in (0, 1))
        torch.lt(second, first, out=taken[j])
        total = torch.minimum(first, second)
    state, chosen, quantiser = total.argmin(0), torch.empty(d, n, dtype=torch.int64), torch.empty(d, n, dtype=torch.int64)
    for j in range(d - 1, -1, -1):
        way = taken[j].gather(0, state[None])[0].long()
        chosen[j] = BRANCH[state, way]
        state = FROM[state, way]
        quantiser[j] = state & 1
    return indices.gather(1, chosen[:, None])[:, 0].long(), quantiser
