"""Errors of pydantic's models as one sentence with the key's dotted place. Imports no torch."""

import re
from collections.abc import Mapping
from typing import Any

from pydantic import ValidationError
from pydantic_core import ErrorDetails, InitErrorDetails, PydanticCustomError

from ..errors import UserError
from .fields import nearest

LONGEST_VALUE = 150


def refuse(message: str, *place: str) -> ValidationError:
    """Error for a model's validator to raise about one of the model's keys.

    Args:
        message: what is wrong and what would be right.
        place: the key below the model, with the keys that lead to it; none for the model itself.
    """
    kind = PydanticCustomError("entry", "{message}", {"message": message})
    details = InitErrorDetails(type=kind, loc=place, input=None)
    return ValidationError.from_exception_data("entry", [details])


def user_error(error: ValidationError, where: str, value: object) -> UserError:
    """The error nearest to the top of the values as one sentence.

    Args:
        error: what validation raised.
        where: dotted place of the validated value in the study; empty for the study itself.
        value: what was validated.
    """
    errors = error.errors(include_url=False)
    # A list whose items are wrong is said to be too short, too: the item is what to tell.
    innermost = [e for e in errors if not any(_is_below(other, e) for other in errors)]
    first = min(innermost, key=lambda details: len(details["loc"]))
    keys = [part for part in (where, *_path(first, value)) if part]
    place = ".".join(keys) or "the study"
    if first["type"] == "missing":
        return UserError(f"{place}: {first['loc'][-1]!r} is missing")
    return UserError(f"{place}: {_message(first)}")


def _path(details: ErrorDetails, value: object) -> list[str]:
    """Keys and positions that lead to the error, as far as the value holds them.

    pydantic's place also names branches of unions, which no value holds.
    """
    path = []
    inner: Any = value
    for part in details["loc"]:
        is_key = isinstance(inner, Mapping) and part in inner
        is_position = isinstance(inner, list | tuple) and isinstance(part, int)
        if is_key or (is_position and part in range(len(inner))):
            inner = inner[part]
            path.append(str(part))
    return path + _keys_of_validators(details, path)


def _keys_of_validators(details: ErrorDetails, path: list[str]) -> list[str]:
    """Keys that a validator refuses by `refuse`, which the value need not hold."""
    return [
        str(part)
        for part in details["loc"][-2:]
        if details["type"] == "entry" and str(part).isidentifier() and str(part) not in path
    ]


def _is_below(error: ErrorDetails, other: ErrorDetails) -> bool:
    """Whether the place of an error is below another one's."""
    depth = len(other["loc"])
    return len(error["loc"]) > depth and error["loc"][:depth] == other["loc"]


def _message(details: ErrorDetails) -> str:
    """What is wrong: the value and the reason."""
    if details["type"] in ("entry", "unknown_key", "duplicate", "digits"):
        return details["msg"]
    if details["type"] == "value_error":
        return details["msg"].removeprefix("Value error, ")
    value = details["input"]
    shown = repr(list(value) if isinstance(value, tuple) else value)
    if len(shown) > LONGEST_VALUE:
        half = LONGEST_VALUE // 2
        shown = f"{shown[:half]} ... {shown[-half:]}"
    context = details.get("ctx", {})
    if details["type"] in ("literal_error", "union_tag_invalid"):
        key = "expected" if details["type"] == "literal_error" else "expected_tags"
        wrong = str(context.get("tag", value))
        choices = re.findall("'([^']*)'", context[key])
        return f"{wrong!r} is not one of the choices{nearest(wrong, choices)}"
    if details["type"] == "too_short":
        return f"{shown} should have at least {context['min_length']} entries"
    if details["type"] == "string_pattern_mismatch":
        return f"{shown} should match the pattern {context['pattern']}"
    reason = re.sub(r"^\w+ should", "should", details["msg"])
    reason = re.sub("a valid dictionary.*", "a mapping of keys to values", reason)
    return f"{shown} {reason}".replace("a valid tuple", "a list")
