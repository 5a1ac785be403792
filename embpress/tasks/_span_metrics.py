"""Exact match and F1 of an answer's text, by the rules of SQuAD v1.1 and of JSQuAD."""

import re
import string
from collections import Counter
from collections.abc import Callable

PUNCTUATION = str.maketrans("", "", string.punctuation)
ARTICLES = re.compile(r"\b(a|an|the)\b")


def english_words(answer: str) -> list[str]:
    """Words as SQuAD's evaluation compares them (Rajpurkar et al.

    2016): lower case, no ASCII punctuation, no articles.
    """
    return ARTICLES.sub(" ", answer.lower().translate(PUNCTUATION)).split()


def japanese_characters(answer: str) -> list[str]:
    """Characters as JGLUE's evaluation compares them (Kurihara et al. 2022): lower case, no full
    stop at the end.

    White space counts, one character between what it parts.
    """
    return list(" ".join(answer.lower().rstrip("。").split()))


UNITS: dict[str, Callable[[str], list[str]]] = {
    "words": english_words,
    "characters": japanese_characters,
}
"""What F1 counts, by a task's `unit`."""


def answer_scores(predicted: str, gold: tuple[str, ...], unit: str) -> tuple[float, float]:
    """Exact match and F1 of an answer, each against the right answer that suits it best."""
    found = UNITS[unit](predicted)
    answers = [UNITS[unit](answer) for answer in gold]
    return float(any(found == answer for answer in answers)), max(
        _f1(found, answer) for answer in answers
    )


def _f1(found: list[str], answer: list[str]) -> float:
    """Harmonic mean of the shares of units that both have.

    0 where they have none in common, or one is empty.
    """
    common = (Counter(found) & Counter(answer)).total()
    return 2 * common / (len(found) + len(answer)) if common else 0.0
