"""Exact match and F1 of an answer's text, by the rules of SQuAD v1.1 and of JSQuAD."""

import re
import string
from collections import Counter
from collections.abc import Callable

PUNCTUATION = str.maketrans("", "", string.punctuation)
ARTICLES = re.compile(r"\b(a|an|the)\b")


def english_words(answer: str) -> list[str]:
    """Words as SQuAD's evaluation compares them (Rajpurkar et al. 2016): lower case, without ASCII
    punctuation and articles.
    """
    return ARTICLES.sub(" ", answer.lower().translate(PUNCTUATION)).split()


def japanese_characters(answer: str) -> list[str]:
    """Characters as JGLUE's evaluation compares them (Kurihara et al. 2022): lower case, without
    the full stop at the end. White space between words counts as one character.
    """
    return list(" ".join(answer.lower().rstrip("。").split()))


UNITS: dict[str, Callable[[str], list[str]]] = {
    "words": english_words,
    "characters": japanese_characters,
}
"""Function that splits an answer into the units that F1 counts, by a task's `unit`."""


def answer_scores(predicted: str, gold: tuple[str, ...], unit: str) -> tuple[float, float]:
    """Exact match and F1 of an answer, each the maximum over all right answers.

    Of two answers without any unit, F1 is 0 by SQuAD's evaluation (words) and 1 by JGLUE's
    (characters).
    """
    units = UNITS[unit](predicted)
    answers = [UNITS[unit](answer) for answer in gold]
    exact = any(units == answer for answer in answers)
    if unit == "characters" and not units and exact:
        return 1.0, 1.0
    return float(exact), max(_f1(units, answer) for answer in answers)


def _f1(predicted: list[str], gold: list[str]) -> float:
    """Harmonic mean of precision and recall of units; 0 if both have none in common."""
    common = (Counter(predicted) & Counter(gold)).total()
    return 2 * common / (len(predicted) + len(gold)) if common else 0.0
