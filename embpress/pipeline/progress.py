"""Progress of a run of the workflow: jobs done and time left, on one line of the terminal."""

import shutil
import time
from collections import Counter, defaultdict
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TextIO

from .job_records import Record, read_record

CLEAR_LINE = "\r\x1b[K"


@dataclass(frozen=True)
class PlannedJob:
    """A job of a run.

    Attributes:
        rule: its rule.
        record: path of the JSON record that it writes, None for a job without a log file.
    """

    rule: str
    record: Path | None


class Progress:
    """Jobs done, and an estimate of the time that the others take.

    A job is expected to take as long as in an earlier run. A job without a record is expected to
    take the mean of its rule or, if no job of its rule has a record, of all jobs.
    """

    def __init__(self, jobs: Mapping[int, PlannedJob], records: Mapping[Path, Record]) -> None:
        self.n_jobs = len(jobs)
        self._open = dict(jobs)
        self._known = {
            number: core_seconds(records[job.record])
            for number, job in jobs.items()
            if job.record is not None and job.record in records
        }
        self._known_seconds = sum(self._known.values())
        timed = [job for number, job in jobs.items() if job.record and number not in self._known]
        self._unknown = Counter(job.rule for job in timed)
        self._seconds: defaultdict[str, float] = defaultdict(float)
        self._n_timed: Counter[str] = Counter()
        for record in records.values():
            self._add(record)

    def _add(self, record: Record) -> None:
        """Count a record in the means of its rule."""
        self._seconds[record["rule"]] += core_seconds(record)
        self._n_timed[record["rule"]] += 1

    @property
    def n_done(self) -> int:
        """Number of finished jobs."""
        return self.n_jobs - len(self._open)

    def finish(self, number: int) -> None:
        """Count a job as finished, and learn from its record how long jobs of its rule take."""
        job = self._open.pop(number, None)
        if job is None or job.record is None:
            return
        if number in self._known:
            self._known_seconds -= self._known.pop(number)
            return
        self._unknown[job.rule] -= 1
        if record := read_record(job.record):
            self._add(record)

    def seconds_left(self, slots: int) -> float | None:
        """Expected seconds until all jobs are finished; None without any record.

        Args:
            slots: number of cores (of jobs on a cluster) that work at a time.
        """
        if not self._n_timed:
            return None
        if len(self._open) <= slots:
            return max(map(self._expected, self._open), default=0.0)
        unknown = sum(count * self._mean(rule) for rule, count in self._unknown.items())
        return (self._known_seconds + unknown) / slots

    def _expected(self, number: int) -> float:
        """Expected core-seconds of a job."""
        job = self._open[number]
        known = self._known.get(number)
        return known if known is not None else self._mean(job.rule) if job.record else 0.0

    def _mean(self, rule: str) -> float:
        """Mean core-seconds of a rule's jobs, of all jobs if none of the rule has a record."""
        if self._n_timed[rule]:
            return self._seconds[rule] / self._n_timed[rule]
        return sum(self._seconds.values()) / self._n_timed.total()

    def line(self, slots: int, now: float) -> str:
        """The line of progress.

        Args:
            slots: as of `seconds_left`.
            now: seconds since the epoch.
        """
        text = f"{self.n_done} of {self.n_jobs} jobs done"
        seconds = self.seconds_left(slots)
        if seconds is None:
            return text
        until = time.strftime("%H:%M", time.localtime(now + seconds))
        return f"{text}, about {duration(seconds)} left (until {until})"


def core_seconds(record: Record) -> float:
    """Seconds for which a job held its cores, times their number."""
    return float(record["seconds"]) * int(record["threads"])


def duration(seconds: float) -> str:
    """A time as people say it: 40 s, 12 min, 3 h 20 min."""
    if seconds < 60:
        return f"{seconds:.0f} s"
    minutes = round(seconds / 60)
    return f"{minutes} min" if minutes < 60 else f"{minutes // 60} h {minutes % 60} min"


class StatusLine:
    """A terminal's stream that keeps one changing line below all other lines.

    The cursor stays at the beginning of the line, so that what other processes write replaces it.
    """

    def __init__(self, stream: TextIO) -> None:
        self._stream = stream
        self._line = ""
        self._is_shown = False

    def __getattr__(self, name: str) -> Any:
        return getattr(self._stream, name)

    def write(self, text: str) -> int:
        """Write other text in place of the line, which appears again after the next flush."""
        self._hide()
        return self._stream.write(text)

    def flush(self) -> None:
        """Show the line again after other text."""
        if self._line and not self._is_shown:
            width = shutil.get_terminal_size().columns - 1  # a full line would wrap
            self._stream.write(f"{self._line[:width]}\r")
            self._is_shown = True
        self._stream.flush()

    def show(self, line: str) -> None:
        """Replace the line; an empty one removes it."""
        self._hide()
        self._line = line
        self.flush()

    def _hide(self) -> None:
        if self._is_shown:
            self._stream.write(CLEAR_LINE)
            self._is_shown = False
