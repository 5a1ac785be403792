"""Trellis-coded quantization with an entropy-coding cost: search of the best path, and the trellis.

Two quantizers share the integers as levels: Q0 has the even ones, 2 k; Q1 has the odd ones and 0,
2 k - sign(k). A trellis of `STATES` states decides which quantizer codes a sample, and the parity
of each index k selects the next state (Ungerboeck 1982, codes of rate 1/2 for amplitude
modulation). The levels are as dense as those of a scalar quantizer of half the step, while the
indices cost as many bits as those of one of the whole step: this is about 1.2 dB closer to the
rate-distortion bound than scalar quantization (Marcellin and Fischer 1990; with entropy coding
Fischer and Wang 1992; 0 in both quantizers, for low rates, as in Joshi, Crump and Fischer 1995).
"""

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
from llvmlite import ir
from numba import types
from numba.core.base import BaseContext as TargetContext
from numba.core.typing import BaseContext as TypingContext
from numba.core.typing import Signature
from numba.extending import intrinsic

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


def _picked(builder: ir.IRBuilder, vector: ir.Value, places: np.ndarray) -> ir.Value:
    """A vector of the elements at constant places of another one."""
    mask = ir.Constant(ir.VectorType(ir.IntType(32), len(places)), places.tolist())
    return builder.shuffle_vector(vector, ir.Constant(vector.type, ir.Undefined), mask)


def _path_extension(
    context: TypingContext, total: types.Array, costs: types.Array, sample: types.Integer
) -> tuple[Signature, Callable[..., ir.Value]]:
    """Extend the cheapest path to each state by a sample, all states at once.

    In LLVM's vector operations: numba finds none for the order in which states follow each other.

    Args:
        context: of the type inference.
        total: float32 (STATES,), cost of the cheapest path to each state; changed.
        costs: float32 (d, 4), cost of each branch at each sample.
        sample: position of the sample.

    Returns:
        uint32, whose bit s says which of its two transitions enters state s.
    """

    def generate(
        context: TargetContext,
        builder: ir.IRBuilder,
        signature: Signature,
        values: Sequence[ir.Value],
    ) -> ir.Value:
        def vector_at(k: int, offset: ir.Value, length: int) -> ir.Value:
            """Pointer to the elements of the array k from an offset on."""
            data = context.make_array(signature.args[k])(context, builder, values[k]).data
            vector = ir.VectorType(ir.FloatType(), length)
            return builder.bitcast(builder.gep(data, [offset]), vector.as_pointer())

        index = values[2].type
        before = vector_at(0, index(0), STATES)
        state = builder.load(before, align=4)
        cost = builder.load(vector_at(1, builder.mul(values[2], index(4)), 4), align=4)
        first, second = (
            builder.fadd(_picked(builder, state, FROM[:, k]), _picked(builder, cost, BRANCH[:, k]))
            for k in (0, 1)
        )
        is_second = builder.fcmp_ordered("<", second, first)
        builder.store(builder.select(is_second, second, first), before, align=4)
        return builder.bitcast(is_second, ir.IntType(STATES))

    return types.uint32(total, costs, sample), generate


_extend_paths: Any = intrinsic(_path_extension)
"""What `_path_extension` describes, to be called by compiled functions without the context."""


@compiled
def cheapest_path(costs: np.ndarray, taken: np.ndarray, branch: np.ndarray) -> None:
    """Find the path of least total cost through the trellis from state 0 (Viterbi algorithm).

    Args:
        costs: float32 (d, 4), cost of each branch at each sample.
        taken: uint32 (d,), scratch: which of its two transitions enters each state.
        branch: uint8 (d,), output: the branch at each sample.
    """
    total = np.full(STATES, np.inf, dtype=np.float32)
    total[0] = 0
    for j in range(len(costs)):
        taken[j] = _extend_paths(total, costs, j)
    state = int(total.argmin())
    for j in range(len(costs) - 1, -1, -1):
        way = int(taken[j]) >> state & 1
        branch[j] = BRANCH[state, way]
        state = FROM[state, way]
