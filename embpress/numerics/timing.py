"""Time functions in turn, so that other load on the machine affects all of them alike.

Also sums the processor time that a job takes before its work begins.
"""

import statistics
import time
from collections.abc import Callable, Sequence
from contextlib import ContextDecorator
from typing import NamedTuple


class Times(NamedTuple):
    """Median and quartiles of a duration in seconds."""

    median: float
    low: float
    high: float

    def __str__(self) -> str:
        unit, name = (
            (1, "s") if self.median >= 1 else (1e3, "ms") if self.median >= 1e-3 else (1e6, "us")
        )
        return f"{self.median * unit:.3g} {name} [{self.low * unit:.3g}, {self.high * unit:.3g}]"


def summarize_times(seconds: Sequence[float]) -> Times:
    """Median and quartiles of durations in seconds."""
    if len(seconds) == 1:
        return Times(seconds[0], seconds[0], seconds[0])
    low, middle, high = statistics.quantiles(seconds, n=4, method="inclusive")
    return Times(middle, low, high)


def time_functions(
    *timed: Callable[[], object],
    runs: int,
    warm: bool = True,
    clock: Callable[[], float] = time.perf_counter,
) -> list[Times]:
    """Run functions in turn, each `runs` times, and return the times of each by a clock in seconds.

    With `warm` each is called once before and not timed.
    """
    if warm:
        for function in timed:
            function()
    seconds: list[list[float]] = [[] for _ in timed]
    for _ in range(runs):
        for function, durations in zip(timed, seconds):
            start = clock()
            function()
            durations.append(clock() - start)
    return [summarize_times(durations) for durations in seconds]


class CpuClock(ContextDecorator):
    """Sums the processor seconds of this process while it is entered; nested entries count once.

    It is a context manager, and a decorator of functions.
    """

    def __init__(self) -> None:
        self.seconds = 0.0
        self._depth = 0
        self._entered = 0.0

    def __enter__(self) -> None:
        if self._depth == 0:
            self._entered = time.process_time()
        self._depth += 1

    def __exit__(self, *error: object) -> None:
        self._depth -= 1
        if self._depth == 0:
            self.seconds += time.process_time() - self._entered


STARTUP = CpuClock()
"""Processor time of imports and of loading models and tokenizers in this process."""
