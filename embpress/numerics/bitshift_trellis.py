"""Trellis-coded quantization at a fixed rate with a bitshift trellis and a computed Gaussian code.

As in QTIP (Tseng, Sun, Hou and De Sa, NeurIPS 2024, section 3): a state of L bits shifts in the k
bits of each sample, s' = (s << k | code) mod 2^L, and decodes to a pseudo-random Gaussian value
that is computed from the state, here by the paper's code 1MAD: a linear congruential generator
whose four bytes are summed. Sequences bite their tail: the last bits of a sequence are the state
before its first sample, so that it takes k bits a sample and no more.
"""

from collections.abc import Callable

import numpy as np

from .compiled import compiled

LANES = 8
"""Sequences that are searched at once: one AVX register of float32."""
MULTIPLIER = 34038481
INCREMENT = 76625530
BYTES_MEAN = 510.0
BYTES_DEVIATION = 147.8
"""Mean and standard deviation of the sum of four uniform bytes."""
WINDOW = 32
"""Samples on either side of the seam from which the state at the seam is estimated."""
FAR = np.float32(1e30)


def state_width(state_bits: int, k: int, d: int) -> int:
    """L for sequences of d samples: `state_bits`, or all bits of a shorter sequence."""
    return max(k, min(state_bits, k * d))


def code_values(width: int) -> np.ndarray:
    """Decoded values of all states of `width` bits by code 1MAD: float32 (2^width,)."""
    state = np.arange(1 << width, dtype=np.uint64)
    mixed = (state * np.uint64(MULTIPLIER) + np.uint64(INCREMENT)) & np.uint64(0xFFFFFFFF)
    total = np.zeros(len(state))
    for byte in range(4):
        total += (mixed >> np.uint64(8 * byte) & np.uint64(255)).astype(np.float64)
    return ((total - BYTES_MEAN) / BYTES_DEVIATION).astype(np.float32)


def encode_sequences(sequences: np.ndarray, k: int, width: int) -> np.ndarray:
    """Codes of tail-biting paths of small squared error.

    The state at the seam is taken from the best path through the samples around it, then the best
    path with this state at both ends is searched (QTIP, Algorithm 4).

    Args:
        sequences: float32 (n, d), of mean square about 1.
        k: bits a sample, 1 to 4.
        width: L, at most k d.

    Returns:
        uint8 (n, d), codes of k bits.
    """
    n, d = sequences.shape
    values = code_values(width)
    prefixes = 1 << (width - k)
    lanes = np.pad(sequences, ((0, -n % LANES), (0, 0)))
    codes = np.empty(lanes.shape, dtype=np.uint8)
    reach = min(WINDOW, d // 2)
    for start in range(0, len(lanes), LANES):
        samples = np.ascontiguousarray(lanes[start : start + LANES].T)
        seam = np.concatenate([samples[d - reach :], samples[:reach]])
        free = np.full(LANES, -1)
        first = np.zeros(LANES, dtype=np.int64)
        if reach:
            # The state after the last sample, without its oldest k bits.
            first = SEARCH[k](seam, values, width, free)[reach - 1] & (prefixes - 1)
        states = SEARCH[k](samples, values, width, first)
        codes[start : start + LANES] = (states & ((1 << k) - 1)).T
    return codes[:n]


@compiled
def _fix_starts(cost: np.ndarray, ends: np.ndarray) -> None:
    """Set the costs of the states before the first sample: only the given ones are possible."""
    for lane in range(LANES):
        if ends[lane] >= 0:
            cost[:, lane] = FAR
            cost[ends[lane], lane] = 0


@compiled
def _trace_back(cost: np.ndarray, origin: np.ndarray, k: int, ends: np.ndarray) -> np.ndarray:
    """States of the best paths.

    Args:
        cost: float32 (2^width, LANES), least error of a path that ends in each state.
        origin: uint8 (d, prefixes, LANES), oldest bits of the state before.
        k: bits a sample.
        ends: int64 (LANES,), as in the search.

    Returns:
        int64 (d, LANES).
    """
    d, prefixes, _ = origin.shape
    states = np.empty((d, LANES), dtype=np.int64)
    for lane in range(LANES):
        state = -1
        for end in range(len(cost)):
            allowed = ends[lane] < 0 or end & (prefixes - 1) == ends[lane]
            if allowed and (state < 0 or cost[end, lane] < cost[state, lane]):
                state = end
        for t in range(d - 1, -1, -1):
            states[t, lane] = state
            prefix = state >> k
            state = prefix + int(origin[t, prefix, lane]) * prefixes
    return states


def _search(k: int) -> Callable[[np.ndarray, np.ndarray, int, np.ndarray], np.ndarray]:
    """The Viterbi search for k bits a sample: a constant, so that loops are unrolled."""
    branches = 1 << k

    def search(samples: np.ndarray, values: np.ndarray, width: int, ends: np.ndarray) -> np.ndarray:
        """States of the paths of least squared error, of LANES sequences at once.

        Args:
            samples: float32 (d, LANES).
            values: float32 (2^width,), decoded value of each state.
            width: bits of a state.
            ends: int64 (LANES,), the lowest width - k bits of the state before the first and of
                that after the last sample; -1 leaves both free.

        Returns:
            int64 (d, LANES).
        """
        d = len(samples)
        prefixes = (1 << width) >> k
        cost = np.zeros((1 << width, LANES), dtype=np.float32)
        after = np.empty_like(cost)
        origin = np.empty((d, prefixes, LANES), dtype=np.uint8)
        _fix_starts(cost, ends)
        for t in range(d):
            sample = samples[t]
            for prefix in range(prefixes):
                for lane in range(LANES):
                    # A state's oldest bits are lost: `branches` states lead to the same prefix.
                    least = cost[prefix, lane]
                    chosen = np.int32(0)
                    for p in range(1, branches):
                        other = cost[prefix + p * prefixes, lane]
                        chosen = np.int32(p) if other < least else chosen
                        least = min(least, other)
                    origin[t, prefix, lane] = chosen
                    for code in range(branches):
                        error = sample[lane] - values[prefix * branches + code]
                        after[prefix * branches + code, lane] = least + error * error
            cost, after = after, cost
        return _trace_back(cost, origin, k, ends)

    return compiled(search, fastmath={"nnan", "nsz", "contract"})


SEARCH = {k: _search(k) for k in (1, 2, 3, 4)}
