"""Validation errors of pydantic as one sentence: place, culprit and remedy. Imports no torch."""

from collections.abc import Callable, Mapping, Sequence

from pydantic import ValidationError
from pydantic_core import ErrorDetails

from ..errors import UserError

MAX_VALUE_LENGTH = 100
"""Characters of a wrong value that a message quotes."""


def user_error(error: ValidationError, place: str, value: object) -> UserError:
    """The first error that pydantic found, as a UserError.

    Args:
        error: what pydantic raised for `value`.
        place: dotted place of `value` in the config; empty for the config itself.
        value: what was validated.
    """
    details = error.errors(include_url=False)
    # An unknown key often explains a missing one, and a nested error a union's other branches.
    details.sort(key=lambda one: (one["type"] != "unknown_key", -len(_path(one, value))))
    first = details[0] if details[0]["type"] == "unknown_key" else error.errors()[0]
    path = _path(first, value)
    where = ".".join([part for part in (place, *map(str, path)) if part]) or "the config"
    return UserError(f"{where}: {_sentence(first)}")


def _path(details: ErrorDetails, value: object) -> list[str | int]:
    """Keys and positions that lead to the error in the value itself.

    pydantic's location also names the branches of unions, which the value does not hold. The key of
    a missing field is left out: the message names it.
    """
    path: list[str | int] = []
    for part in details["loc"]:
        if isinstance(value, Mapping) and part in value:
            value = value[part]
        elif isinstance(value, Sequence) and not isinstance(value, str) and isinstance(part, int):
            value = value[part] if part < len(value) else None
        else:
            continue
        path.append(part)
    return path


def _sentence(details: ErrorDetails) -> str:
    """What is wrong, and what would be right."""
    kind, context = details["type"], details.get("ctx", {})
    quoted = _quote(details["input"])
    sentences: dict[str, Callable[[], str]] = {
        "missing": lambda: f"{details['loc'][-1]!r} is missing",
        "literal_error": lambda: f"{quoted} is not one of {context['expected']}",
        "string_pattern_mismatch": lambda: f"{quoted} does not match {context['pattern']}",
        "greater_than_equal": lambda: f"{quoted} is less than the minimum of {context['ge']:g}",
        "greater_than": lambda: f"{quoted} must be greater than {context['gt']:g}",
        "less_than_equal": lambda: f"{quoted} is greater than the maximum of {context['le']:g}",
        "too_short": lambda: f"{quoted} needs at least {context['min_length']} entries",
        "too_long": lambda: f"{quoted} has more than {context['max_length']} entries",
        "finite_number": lambda: f"{quoted} is not a finite number",
        "unknown_key": lambda: details["msg"],
        "value_error": lambda: details["msg"].removeprefix("Value error, "),
    }
    if kind in sentences:
        return sentences[kind]()
    if details["msg"].startswith("Input should be"):
        return f"{quoted} {details['msg'].removeprefix('Input ')}"
    return details["msg"]


def _quote(value: object) -> str:
    """A value as Python writes it, without the middle of a long one."""
    text = repr(list(value) if isinstance(value, tuple) else value)
    half = MAX_VALUE_LENGTH // 2
    return text if len(text) <= MAX_VALUE_LENGTH else f"{text[:half]} ... {text[-half:]}"
