"""Base class and field types of a study's typed entries. Imports no torch."""

import difflib
from collections.abc import Iterable
from typing import Annotated, TypeVar

from pydantic import (
    AfterValidator,
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Field,
    model_validator,
)
from pydantic_core import PydanticCustomError

Value = TypeVar("Value")

NAME_PATTERN = r"^[A-Za-z][A-Za-z0-9_-]*$"
COMMIT_PATTERN = r"^[0-9a-f]{40}$"
SHA256_PATTERN = r"^[0-9a-f]{64}$"


def nearest(word: str, known: Iterable[str]) -> str:
    """End of a message about an unknown word: the most similar known one, or all known ones."""
    known = list(known)
    close = difflib.get_close_matches(word, known, n=1)
    return f"; did you mean {close[0]!r}?" if close else f"; there are {', '.join(sorted(known))}"


class Frozen(BaseModel):
    """Immutable entry that refuses unknown keys, wrong types, NaN and infinity."""

    model_config = ConfigDict(frozen=True, extra="forbid", strict=True, allow_inf_nan=False)

    @model_validator(mode="before")
    @classmethod
    def _refuse_unknown_keys(cls, value: object) -> object:
        """Name the first unknown key and the known one that is most similar to it."""
        if isinstance(value, dict):
            fields = cls.model_fields.items()
            known = [field.alias or name for name, field in fields]
            unknown = next((str(key) for key in value if key not in known), None)
            if unknown is not None:
                message = f"unknown key {unknown!r}{nearest(unknown, known)}"
                raise PydanticCustomError("unknown_key", "{message}", {"message": message})
        return value


def _check_unique(values: Value) -> Value:
    """Refuse a list that holds a value twice."""
    items = list(values) if isinstance(values, tuple) else []
    duplicate = next((item for item in items if items.count(item) > 1), None)
    if duplicate is not None:
        message = f"{duplicate!r} is given twice: remove one"
        raise PydanticCustomError("duplicate", "{message}", {"message": message})
    return values


def _check_digits(ratio: float) -> float:
    """Refuse a ratio whose folder name would not hold all of its digits."""
    if float(f"{ratio:g}") != ratio:
        message = f"ratio {ratio} has more than 6 significant digits: round it"
        raise PydanticCustomError("digits", "{message}", {"message": message})
    return ratio


def _number(value: object) -> object:
    """The number that a text spells: `snakemake --config seeds=[0,1]` gives a list of texts."""
    for parse in (int, float):
        try:
            return parse(value) if isinstance(value, str) else value
        except ValueError:
            continue
    return value


Name = Annotated[str, Field(pattern=NAME_PATTERN)]
"""Name of an entry; it becomes part of folder names."""
Commit = Annotated[str, Field(pattern=COMMIT_PATTERN)]
"""Full hash of a commit, so that a download is pinned."""
Sha256 = Annotated[str, Field(pattern=SHA256_PATTERN)]
Ratio = Annotated[
    float, Field(ge=1, le=99999), AfterValidator(_check_digits), BeforeValidator(_number)
]
"""Dense fp32 bits / stored bits."""
Seed = Annotated[int, Field(ge=0, le=4294967295), BeforeValidator(_number)]
# A YAML list is a Python list; strict mode would take nothing but a tuple for one.
Ratios = Annotated[
    tuple[Ratio, ...], Field(strict=False, min_length=1), AfterValidator(_check_unique)
]
Seeds = Annotated[
    tuple[Seed, ...], Field(strict=False, min_length=1), AfterValidator(_check_unique)
]
Strings = Annotated[
    tuple[str, ...], Field(strict=False, min_length=1), AfterValidator(_check_unique)
]
"""At least one string, each once."""


def _as_tuple(value: object) -> object:
    """A single string as a list of one."""
    return (value,) if isinstance(value, str) else value
