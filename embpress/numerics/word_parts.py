"""Parts of a stream of 16-bit words, each after its number of words, which takes two words."""

from collections.abc import Sequence

import numpy as np

NUMBER_WORDS = 2
"""Words of a number, the lower first."""


def number_words(number: int) -> np.ndarray:
    """A number below 2^32 as words, uint16 (NUMBER_WORDS,)."""
    return np.array([number & 0xFFFF, number >> 16], dtype=np.uint16)


def join_parts(parts: Sequence[np.ndarray]) -> np.ndarray:
    """Words of parts, uint16, each after its number of words."""
    return np.concatenate([piece for part in parts for piece in (number_words(len(part)), part)])


class PartReader:
    """Reads one part after the other.

    Args:
        words: uint16, what `join_parts` joined, and perhaps more.
        content: what the parts are of, for errors.
    """

    def __init__(self, words: np.ndarray, content: str) -> None:
        self.rest = words
        """Words after the parts that were read."""
        self._content = content

    def next_part(self) -> np.ndarray:
        """Words of the next part.

        Raises:
            ValueError: if it is longer than the words.
        """
        start = NUMBER_WORDS
        end = start
        if len(self.rest) >= start:
            end += int(self.rest[0]) + (int(self.rest[1]) << 16)
        if end > len(self.rest):
            raise ValueError(f"a part of {self._content} is longer than the stream")
        part = self.rest[start:end]
        self.rest = self.rest[end:]
        return part
