"""How long functions take, one in turn after the other.

So that load of the machine falls on all of them alike.
"""

import statistics
import time
from collections.abc import Callable, Sequence
from typing import NamedTuple


class Times(NamedTuple):
    """Median and quartiles, in seconds."""

    median: float
    low: float
    high: float

    def __str__(self) -> str:
        unit, name = (
            (1, "s") if self.median >= 1 else (1e3, "ms") if self.median >= 1e-3 else (1e6, "us")
        )
        return f"{self.median * unit:.3g} {name} [{self.low * unit:.3g}, {self.high * unit:.3g}]"


def times_of(seconds: Sequence[float]) -> Times:
    """Median and quartiles of some runs."""
    if len(seconds) == 1:
        return Times(seconds[0], seconds[0], seconds[0])
    low, middle, high = statistics.quantiles(seconds, n=4, method="inclusive")
    return Times(middle, low, high)


def compared(*timed: Callable[[], object], runs: int, warm: bool = True) -> list[Times]:
    """Time functions in turn, so that what else the machine does falls on all of them alike."""
    if warm:
        for function in timed:
            function()
    seconds: list[list[float]] = [[] for _ in timed]
    for _ in range(runs):
        for function, found in zip(timed, seconds):
            start = time.perf_counter()
            function()
            found.append(time.perf_counter() - start)
    return [times_of(found) for found in seconds]
