"""One line of progress on a terminal, with the time left."""

import re
import sys
from time import monotonic
from typing import TextIO

DONE_OF_ALL = re.compile(r"\b(\d[\d,]*)/(\d[\d,]*)\b")
MIN_SECONDS = 2.0
"""Time after which the time left is estimated."""


class ProgressLine:
    """Called with messages; on a terminal each replaces the one before if both are of one step.

    Messages such as `300/1000 rows` are of one step, and get the time left by its pace.

    Args:
        stream: where messages are written; standard error by default.
    """

    def __init__(self, stream: TextIO | None = None) -> None:
        self.stream = stream or sys.stderr
        self._step = ""
        self._started = 0.0
        self._is_open = False

    def __call__(self, message: str) -> None:
        """Write a message."""
        match = DONE_OF_ALL.search(message)
        now = monotonic()
        step = ""
        if match:
            step = f"{match[2]}{message[match.end() :].split(':')[0]}"
            if step != self._step:
                self._started = now
            done, total = (int(number.replace(",", "")) for number in match.groups())
            seconds = now - self._started
            if seconds >= MIN_SECONDS and 0 < done < total:
                message += f", {_duration(seconds / done * (total - done))} left"
        if self.stream.isatty():
            replaces = self._is_open and step and step == self._step
            self.stream.write(("\r\x1b[K" if replaces else "\n" * self._is_open) + message)
            self._is_open = True
        else:
            self.stream.write(message + "\n")
        self.stream.flush()
        self._step = step

    def close(self) -> None:
        """End the line."""
        if self._is_open:
            self.stream.write("\n")
            self.stream.flush()
        self._is_open = False


def _duration(seconds: float) -> str:
    """About how long: seconds below two minutes, else minutes."""
    return f"about {seconds:.0f} s" if seconds < 120 else f"about {seconds / 60:.0f} min"
