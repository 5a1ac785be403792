"""Errors of pydantic's models as one sentence with the key's dotted place. Imports no torch."""

import re

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


def user_error(error: ValidationError, where: str) -> UserError:
    """The error nearest to the top of the values as one sentence.

    Args:
        error: what validation raised.
        where: dotted place of the validated values in the study.
    """
    errors = error.errors(include_url=False)
    # A list whose items are wrong is said to be too short, too: the item is what to tell.
    innermost = [e for e in errors if not any(_is_below(other, e) for other in errors)]
    first = min(innermost, key=lambda details: len(details["loc"]))
    # The branches of unions are part of pydantic's place; their tags have spaces, keys have none.
    keys = [str(part) for part in first["loc"] if " " not in str(part)]
    if first["type"] == "missing":
        return UserError(f"{'.'.join([where, *keys[:-1]])}: {keys[-1]!r} is missing")
    return UserError(f"{'.'.join([where, *keys])}: {_message(first)}")


def _is_below(error: ErrorDetails, other: ErrorDetails) -> bool:
    """Whether the place of an error is below another one's."""
    depth = len(other["loc"])
    return len(error["loc"]) > depth and error["loc"][:depth] == other["loc"]


def _message(details: ErrorDetails) -> str:
    """What is wrong: the value and pydantic's reason."""
    if details["type"] in ("entry", "unknown_key", "duplicate"):
        return details["msg"]
    shown = repr(details["input"])
    if len(shown) > LONGEST_VALUE:
        shown = f"{shown[: LONGEST_VALUE // 2]} ... {shown[-LONGEST_VALUE // 2 :]}"
    if details["type"] == "literal_error":
        choices = re.findall("'([^']*)'", details["ctx"]["expected"])
        return f"{shown} is not one of the choices{nearest(str(details['input']), choices)}"
    reason = re.sub(r"^\w+ should", "should", details["msg"])
    return f"{shown} {reason}"
