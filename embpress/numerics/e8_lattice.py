"""Codebooks in eight dimensions from the lattice E8, with exact search of the nearest codeword.

E8P (Tseng et al., QuIP#, ICML 2024, section 4.2) has 2^16 codewords, 2 bits a value: the vectors
of odd halves with an even sum whose absolute values are one of 256 patterns, shifted by 1/4 or by
-1/4 in all coordinates. All of them are points of E8 + 1/4. Patterns are the 227 of squared norm up
to 10, and 29 of the 56 of squared norm 12 with five entries 3/2 and three 1/2; which 29 does not
matter for the error, here they are the first in lexicographic order.

A codebook of 2^8 codewords, 1 bit a value, are the 241 points of E8 of squared norm up to 2 and 15
of the 2,160 of squared norm 4. QuIP# adds it to E8P for 3 bits; here the 15 points are 2 e_1, -2
e_1, 2 e_2, ...
"""

import itertools
from functools import lru_cache

import numpy as np

from .compiled import compiled

DIMENSION = 8
PATTERNS = 256
SHIFT = 0.25


@lru_cache(maxsize=1)
def e8p_patterns() -> np.ndarray:
    """Absolute values of E8P's vectors before the shift: float32 (256, 8)."""
    doubled = np.array(list(itertools.product((1, 3, 5), repeat=DIMENSION)))
    norm = (doubled**2).sum(1)
    inner = doubled[norm <= 4 * 10]
    outer = doubled[(norm == 4 * 12) & (doubled.max(1) == 3)]
    patterns = np.concatenate([inner, outer[: PATTERNS - len(inner)]])
    return (patterns / 2).astype(np.float32)


@lru_cache(maxsize=1)
def e8p_codewords() -> np.ndarray:
    """Codewords of E8P by code: float32 (65536, 8).

    A code is pattern x 256 + signs x 2 + shift: bit j of the signs is set if coordinate j is
    negative, for seven coordinates; the sign of the last one follows from the even sum. The shift
    is 1/4 for 1 and -1/4 for 0.
    """
    code = np.arange(PATTERNS << 8)
    pattern = e8p_patterns()[code >> 8]
    negative = np.empty(pattern.shape, dtype=np.int64)
    negative[:, :-1] = code[:, None] >> np.arange(1, DIMENSION) & 1
    odd = _odd_sums(e8p_patterns())[code >> 8]
    negative[:, -1] = (negative[:, :-1].sum(1) + odd) % 2
    shift = np.where(code & 1, SHIFT, -SHIFT)
    return (pattern * (1 - 2 * negative) + shift[:, None]).astype(np.float32)


@lru_cache(maxsize=1)
def e8_short_codewords() -> np.ndarray:
    """The codebook of 1 bit a value: float32 (256, 8)."""
    integers = np.array(list(itertools.product((-1, 0, 1), repeat=DIMENSION)))
    roots = integers[(integers**2).sum(1) == 2]
    halves = np.array(list(itertools.product((-0.5, 0.5), repeat=DIMENSION)))
    halves = halves[halves.sum(1) % 2 == 0]
    longer = np.repeat(2 * np.eye(DIMENSION), 2, axis=0)
    longer[1::2] *= -1
    zero = np.zeros((1, DIMENSION))
    return np.concatenate([zero, roots, halves, longer[:15]]).astype(np.float32)


def nearest_e8p(vectors: np.ndarray) -> np.ndarray:
    """Codes of the nearest codewords of E8P: float32 (n, 8) to int64 (n,)."""
    patterns = e8p_patterns()
    half_norm = (patterns**2).sum(1) / 2
    return _nearest_e8p(vectors, np.ascontiguousarray(patterns.T), half_norm, _odd_sums(patterns))


def nearest_short(vectors: np.ndarray) -> np.ndarray:
    """Numbers of the nearest codewords of 1 bit a value: float32 (n, 8) to int64 (n,)."""
    codewords = e8_short_codewords()
    scores = vectors @ codewords.T - (codewords**2).sum(1) / 2
    return scores.argmax(1)


def _odd_sums(patterns: np.ndarray) -> np.ndarray:
    """1 where the sum of a pattern's entries is odd, else 0: int64."""
    return patterns.sum(1).astype(np.int64) & 1


@compiled
def _nearest_e8p(
    vectors: np.ndarray, patterns: np.ndarray, half_norm: np.ndarray, odd: np.ndarray
) -> np.ndarray:
    """Search by pattern: the signs of a vector are the best, but for one if their parity is wrong.

    Args:
        vectors: float32 (n, 8).
        patterns: float32 (8, 256).
        half_norm: float32 (256,), half of the patterns' squared norms.
        odd: int64 (256,), parity of the number of negative signs.

    Returns:
        int64 (n,), codes as in `e8p_codewords`.
    """
    codes = np.empty(len(vectors), dtype=np.int64)
    size = np.empty(DIMENSION, dtype=np.float32)
    score = np.empty(PATTERNS, dtype=np.float32)
    least = np.empty(PATTERNS, dtype=np.float32)
    for i in range(len(vectors)):
        best = np.float32(-np.inf)
        best_pattern = 0
        best_shift = 0
        for shift in range(2):
            negative = 0
            offset = np.float32(SHIFT if shift else -SHIFT)
            total = np.float32(0)
            for j in range(DIMENSION):
                value = vectors[i, j] - offset
                total += value * value
                negative ^= int(value < 0)
                size[j] = abs(value)
            score[:] = -half_norm - total / 2
            least[:] = np.float32(np.inf)
            for j in range(DIMENSION):
                for p in range(PATTERNS):
                    part = patterns[j, p] * size[j]
                    score[p] += part
                    least[p] = min(least[p], part)
            # An even number of negative signs suits patterns of an even sum.
            for p in range(PATTERNS):
                wrong = np.float32(negative ^ odd[p])
                score[p] -= 2 * wrong * least[p]
            winner = int(score.argmax())
            if score[winner] > best:
                best = score[winner]
                best_pattern = winner
                best_shift = shift
        signs = _best_signs(vectors[i], patterns[:, best_pattern], odd[best_pattern], best_shift)
        codes[i] = best_pattern << 8 | (signs & 127) << 1 | best_shift
    return codes


@compiled
def _best_signs(vector: np.ndarray, pattern: np.ndarray, odd: int, shift: int) -> int:
    """Bits of the negative coordinates nearest to a vector (8,), for a pattern and a shift."""
    offset = np.float32(SHIFT if shift else -SHIFT)
    signs = 0
    parity = odd
    flipped = 0
    least = np.float32(np.inf)
    for j in range(DIMENSION):
        value = vector[j] - offset
        if value < 0:
            signs |= 1 << j
            parity ^= 1
        if abs(value) * pattern[j] < least:
            least = abs(value) * pattern[j]
            flipped = j
    return signs ^ (1 << flipped) if parity else signs
