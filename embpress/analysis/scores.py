"""The tidy table of scores (results/scores.csv), the labels that go with it.

And the mean over seeds.
"""

import math
from collections.abc import Collection
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import pandas
from pandas import DataFrame

from ..errors import UserError
from ..files import write_text

KEY_COLUMNS = [
    "study",
    "model",
    "task",
    "protocol",
    "method",
    "target_ratio",
    "factor_dtype",
    "seed",
    "metric",
]
"""What tells rows apart.

The file is sorted by it, left to right, controls (no ratio asked) before ratios.
"""

SCORE_COLUMNS = [
    *(
        "study",
        "model",
        "task",
        "protocol",
        "method",
        "target_ratio",
        "achieved_ratio",
        "parameter_ratio",
        "model_ratio",
    ),
    *("factor_dtype", "seed", "metric", "value", "n", "uncompressed_value"),
    *("retention", "retention_low", "retention_high"),
    *("relative_error", "mean_cosine", "neighbour_overlap", "eigenspace_overlap"),
    *(
        "weighted_relative_error",
        "weighted_mean_cosine",
        "weighted_neighbour_overlap",
        "weighted_eigenspace_overlap",
    ),
    *("error_bound", "weighted_error_bound", "distance_db", "weighted_distance_db", "note"),
]
TEXT_COLUMNS = ["study", "model", "task", "protocol", "method", "factor_dtype", "metric", "note"]
COUNT_COLUMNS = ["seed", "n"]
FLOAT_COLUMNS = [c for c in SCORE_COLUMNS if c not in TEXT_COLUMNS + COUNT_COLUMNS]


def read_scores(path: Path) -> DataFrame:
    """Read a table that `write_scores` wrote; empty numbers become NaN, empty notes "".

    Raises:
        UserError: if the file is no table, or columns are missing or unknown.
    """
    try:
        # Only numbers may be missing: a method called "NA" stays a name.
        frame = pandas.read_csv(path, dtype=str, keep_default_na=False, encoding="utf-8")
    except ValueError as error:  # not UTF-8, empty, or lines of different lengths
        raise UserError(f"{path} is no table of scores ({str(error).splitlines()[0]})") from error
    return _typed(frame, str(path))


def write_scores(frame: DataFrame, path: Path) -> None:
    """Write sorted by KEY_COLUMNS, floats with 6 significant digits, whatever the order of the rows given.

    Raises:
        UserError: if columns are missing or unknown, or two rows are of the same KEY_COLUMNS.
    """
    typed = _typed(frame, "the table of scores").sort_values(
        KEY_COLUMNS, na_position="first", kind="stable"
    )
    twice = typed[typed.duplicated(KEY_COLUMNS)]
    if len(twice):
        where = ", ".join(f"{k} {v}" for k, v in twice.iloc[0][KEY_COLUMNS].items())
        raise UserError(
            f"the table of scores holds two rows for {where}: aggregate each evaluation once"
        )
    write_text(path, typed.to_csv(index=False, float_format="%.6g", lineterminator="\n"))


def _typed(frame: DataFrame, name: str) -> DataFrame:
    """The same rows with columns checked, in order, and of their types."""
    for what, columns in (
        ("lacks", [c for c in SCORE_COLUMNS if c not in frame]),
        ("has unknown", [c for c in frame if c not in SCORE_COLUMNS]),
    ):
        if columns:
            raise UserError(
                f"{name} {what} column(s) {', '.join(columns)}: make it anew with the rule `scores`"
            )
    frame = frame[SCORE_COLUMNS].copy()
    for column in TEXT_COLUMNS:
        # A note must stay on its line, so that a line of the file is a score.
        frame[column] = [
            " ".join(str(v).split()) if isinstance(v, str) else "" for v in frame[column]
        ]
    for column in FLOAT_COLUMNS:
        frame[column] = pandas.to_numeric(frame[column]).astype(float)
    for column in COUNT_COLUMNS:
        frame[column] = pandas.to_numeric(frame[column]).astype("Int64")
    return frame


@dataclass(frozen=True)
class MethodLabel:
    """How a method is shown."""

    label: str
    kind: str
    """paper, baseline or control."""
    reconstruction: bool = False
    citation: str = ""
    """Key of its paper, "" for what has none."""
    compresses_layers: bool = False
    """Whether it compresses other matrices than the embedding.

    No row or point among those of the embedding.
    """
    base: str = ""
    """The method file behind it, which its variants share."""


@dataclass(frozen=True)
class TaskLabel:
    """How a task and its metrics are shown."""

    label: str
    metric: str
    """The main metric's name in the table of scores."""
    metric_label: str
    higher_is_better: bool = True
    footnote: str = ""
    model: str = ""
    """The model's label."""
    checkpoint: str = ""
    """The label of the checkpoint that it runs on.

    The model's, unless it is fine-tuned for the task.
    """
    percent: bool = True
    """Whether scores are shown times 100."""
    metrics: dict[str, str] = field(default_factory=dict)
    """Labels of the task's further metrics; those without are shown by name."""


@dataclass(frozen=True)
class Labels:
    """Methods and tasks in the order in which they are shown, and the ratios the study asks for."""

    methods: dict[str, MethodLabel]
    tasks: dict[str, TaskLabel]
    ratios: list[float]

    @classmethod
    def from_json(cls, value: dict[str, Any]) -> "Labels":
        """From results/labels.json."""
        methods = {k: MethodLabel(**v) for k, v in value["methods"].items()}
        # Where the file does not say, what is lower the better (a perplexity) is no share of 1.
        tasks = {
            k: TaskLabel(**{"percent": v.get("higher_is_better", True)} | v)
            for k, v in value["tasks"].items()
        }
        return cls(methods, tasks, sorted(value["ratios"]))

    def block(self, ratio: float) -> float:
        """The study's ratio nearest to a method's own, in log ratio.

        Where a codec of fixed size is listed.
        """
        return min(self.ratios, key=lambda r: abs(math.log(r / ratio)))


def select_scores(
    scores: DataFrame,
    labels: Labels,
    tasks: Collection[str],
    methods: Collection[str],
    ratios: Collection[float],
) -> tuple[DataFrame, Labels]:
    """The rows of some tasks, methods and ratios, and the labels that go with them; nothing named
    means all.

    The uncompressed model always stays, and the controls where no method is named. A codec of fixed
    size belongs to the study's ratio under which tables list it.

    Raises:
        UserError: if the study has no such task, method or ratio.
    """
    wanted = (
        ("task", tasks, labels.tasks),
        ("method", methods, labels.methods),
        ("ratio", ratios, labels.ratios),
    )
    for what, named, known in wanted:
        for name in named:
            if name not in known:
                raise UserError(
                    f"the study has no {what} {name}; it has {', '.join(map(str, known))}"
                )
    kept = scores["target_ratio"].map(
        lambda r: not ratios or math.isnan(r) or labels.block(r) in ratios
    )
    kept &= scores["task"].isin(tasks or labels.tasks)
    kept &= scores["method"].isin({"identity", *methods} if methods else labels.methods)
    shown = {task: about for task, about in labels.tasks.items() if task in (tasks or labels.tasks)}
    return scores[kept], replace(labels, tasks=shown)


def mean_over_seeds(scores: DataFrame) -> DataFrame:
    """One row a (task, method, target_ratio, metric): means over seeds, `value_sd` and the number of
    `seeds`.

    Interval bounds are averaged over seeds like scores; NaN standard deviation for a single seed.

    Raises:
        UserError: if one task mixes protocols or models, which would make its means meaningless.
    """
    scores = _typed(scores, "the table of scores")
    for column in ("protocol", "model"):
        mixed = scores.groupby("task")[column].nunique()
        if (mixed > 1).any():
            raise UserError(
                f"task {mixed.idxmax()} mixes several values of {column}: give each its own task entry"
            )
    groups = scores.groupby(["task", "method", "target_ratio", "metric"], dropna=False, sort=True)
    means = groups[[c for c in FLOAT_COLUMNS if c != "target_ratio"]].mean()
    means["value_sd"] = groups["value"].std()
    means["seeds"] = groups["seed"].nunique()
    means["n"] = groups["n"].max()
    means["note"] = groups["note"].max()
    means["protocol"] = groups["protocol"].first()
    return means.reset_index()
