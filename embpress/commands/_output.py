"""How commands print their results."""

import json
from collections.abc import Callable
from typing import Any, Protocol, TypeVar


class _Result(Protocol):
    def to_json(self) -> Any: ...


ResultT = TypeVar("ResultT", bound=_Result)


def print_result(result: ResultT, as_json: bool, render: Callable[[ResultT], str]) -> None:
    """Print a result as JSON, or else as the text that `render` makes of it."""
    print(json.dumps(result.to_json(), indent=1) if as_json else render(result))
