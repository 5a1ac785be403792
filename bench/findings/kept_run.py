"""A kept run: its scores, paired differences, claims and labels."""

import hashlib
import json
import lzma
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import pandas
import yaml
from pandas import DataFrame

from embpress.analysis.averages import MAIN
from embpress.analysis.scores import Labels, MethodLabel, mean_over_seeds, read_scores
from embpress.analysis.verdicts import read_claims, shown_claims
from embpress.pipeline.paired_differences import MEAN
from embpress.report import tables
from embpress.report.tables.rows import averaged_tasks
from embpress.study.claim_entry import ClaimEntry
from embpress.study.study import IDENTITY


class NotKept(LookupError):
    """A page needs a run, or a number of a run, that is not kept."""


@dataclass(frozen=True)
class Estimate:
    """A number with its 95 % interval."""

    value: float
    low: float
    high: float

    @property
    def sign(self) -> int:
        """1 or -1 where the interval lies on one side of 0, else 0."""
        return 1 if self.low > 0 else -1 if self.high < 0 else 0


class KeptRun:
    """Numbers of one study as docs/findings/runs keeps it."""

    def __init__(self, folder: Path) -> None:
        """Read the small files of a run.

        Raises:
            NotKept: if the folder holds no run.
        """
        if not (folder / "run.json").exists():
            raise NotKept(f"{folder} holds no run")
        self.folder = folder
        self.about: dict[str, Any] = json.loads((folder / "run.json").read_text(encoding="utf-8"))
        text = (folder / "labels.json").read_text(encoding="utf-8")
        self.labels = Labels.from_json(json.loads(text))

    @cached_property
    def scores(self) -> DataFrame:
        """The table of scores; columns that came after the run are empty."""
        return read_scores(self.folder / "scores.csv.xz", is_kept=True)

    @cached_property
    def best(self) -> Labels:
        """Labels without methods as published."""
        return self.labels.at_best()

    @cached_property
    def best_scores(self) -> DataFrame:
        """Scores of the methods of `best`."""
        return self.best.rows(self.scores)

    @cached_property
    def averages(self) -> DataFrame:
        """Averages over tasks, means over seeds; of each the average alone, without its tasks."""
        averages = read_scores(self.folder / "averages.csv.xz", is_kept=True)
        return mean_over_seeds(averages[averages["metric"] == MAIN])

    @cached_property
    def bounds(self) -> DataFrame:
        """Rate-distortion bounds."""
        return pandas.read_csv(self.folder / "bounds.csv.xz")

    @cached_property
    def modules(self) -> DataFrame:
        """Bits of each kind of matrices of whole models."""
        return tables.read_modules(self.folder / "modules.csv.xz")

    @cached_property
    def claims(self) -> DataFrame:
        """Comparisons of the claims with their verdicts, as tables show them."""
        path = self.folder / "claims.csv.xz"
        if not path.exists():
            raise NotKept(f"{path}: the study has no claims")
        return shown_claims(read_claims(path), self.scores, self.labels)

    @cached_property
    def config(self) -> dict[str, Any]:
        """The study's config, with benchmarks and students resolved."""
        config: dict[str, Any] = yaml.safe_load(
            (self.folder / "study.yaml").read_text(encoding="utf-8")
        )
        return config

    @cached_property
    def claim_entries(self) -> dict[str, ClaimEntry]:
        """The study's claims by name."""
        entries = self.config["claims"].items()
        return {name: ClaimEntry.model_validate(entry) for name, entry in entries}

    @cached_property
    def _differences(self) -> dict[tuple[str, float, str, str], Any]:
        """Rows of the table of differences by task, ratio and both methods."""
        rows = pandas.read_csv(self.folder / "differences.csv.xz")
        return {(r.task, r.ratio, r.first, r.second): r for r in rows.itertuples()}

    @cached_property
    def digest(self) -> str:
        """sha256 of all tables, independent of how they are compressed."""
        total = hashlib.sha256((self.folder / "labels.json").read_bytes())
        for path in sorted(self.folder.glob("*.csv.xz")):
            total.update(path.name.encode() + lzma.decompress(path.read_bytes()))
        return total.hexdigest()

    def label(self, method: str) -> str:
        """How a method is shown."""
        return self.labels.methods[method].label

    @property
    def tasks(self) -> list[str]:
        """Tasks that means are over."""
        return averaged_tasks(self.scores, list(self.labels.tasks))

    def difference(self, first: str, second: str, ratio: float, task: str = MEAN) -> Estimate:
        """Difference in retention, first - second, in points.

        Raises:
            NotKept: if the run has no such pair.
        """
        for sign, key in ((1, (first, second)), (-1, (second, first))):
            row = self._differences.get((task, ratio, *key))
            if row is not None:
                low, high = sorted((sign * row.low, sign * row.high))
                return Estimate(sign * row.difference, low, high)
        raise NotKept(f"{self.folder.name} has no {first} and {second} on {task} at {ratio:g}x")

    def retention(self, method: str, ratio: float, task: str = MEAN) -> Estimate:
        """Retention in percent, of a task or a mean.

        Raises:
            NotKept: if the run has none.
        """
        loss = self.difference(method, IDENTITY, ratio, task)
        return Estimate(100 + loss.value, 100 + loss.low, 100 + loss.high)

    def methods(self, ratio: float, task: str = MEAN) -> list[str]:
        """Methods with a retention, the highest first.

        Without controls, whole models, and methods as published.
        """
        found = [
            first
            for (of, at, first, second) in self._differences
            if (of, at, second) == (task, ratio, IDENTITY) and self._is_compared(first)
        ]
        return sorted(found, key=lambda method: -self.retention(method, ratio, task).value)

    def _is_compared(self, method: str) -> bool:
        about: MethodLabel = self.labels.methods[method]
        is_best = about.setting == "best"
        return is_best and about.kind != "control" and not about.compresses_layers
