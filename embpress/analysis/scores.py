"""The tidy table of scores (results/scores.csv), the labels of its methods and tasks, and means."""

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
"""Columns that identify a row.

The file is sorted by them from left to right; controls, which have no target ratio, come first.
"""

SCORE_COLUMNS = [
    *(
        "study",
        "model",
        "task",
        "protocol",
        "method",
        "setting",
        "target_ratio",
        "achieved_ratio",
        "parameter_ratio",
        "model_ratio",
    ),
    *("factor_dtype", "seed", "metric", "value", "n", "uncompressed_value"),
    *("retention", "retention_low", "retention_high"),
    *("mean_retention_low", "mean_retention_high"),
    *("relative_error", "mean_cosine", "neighbour_overlap", "eigenspace_overlap"),
    *(
        "weighted_relative_error",
        "weighted_mean_cosine",
        "weighted_neighbour_overlap",
        "weighted_eigenspace_overlap",
    ),
    *("error_bound", "weighted_error_bound", "distance_db", "weighted_distance_db", "note"),
]
TEXT_COLUMNS = ["study", "model", "task", "protocol", "method", "setting"]
TEXT_COLUMNS += ["factor_dtype", "metric", "note"]
COUNT_COLUMNS = ["seed", "n"]
FLOAT_COLUMNS = [c for c in SCORE_COLUMNS if c not in TEXT_COLUMNS + COUNT_COLUMNS]


def read_scores(path: Path, is_kept: bool = False) -> DataFrame:
    """Read a table that `write_scores` wrote; empty numbers become NaN, empty notes "".

    Args:
        path: the file, compressed if its name says so.
        is_kept: whether it may have the columns of another version: missing ones are empty, and
            unknown ones are left out.

    Raises:
        UserError: if the file is not a table, or columns are missing or unknown.
    """
    try:
        # Only numbers may be missing: a method called "NA" stays a name.
        frame = pandas.read_csv(path, dtype=str, keep_default_na=False, encoding="utf-8")
    except ValueError as error:  # not UTF-8, empty, or lines of different lengths
        reason = str(error).splitlines()[0]
        raise UserError(f"{path} is not a table of scores ({reason})") from error
    if is_kept:
        frame = frame.reindex(columns=SCORE_COLUMNS, fill_value="")
    return _typed(frame, str(path))


def write_scores(frame: DataFrame, path: Path) -> None:
    """Write a table sorted by KEY_COLUMNS, with 6 significant digits.

    Raises:
        UserError: if columns are missing or unknown, or two rows have equal KEY_COLUMNS.
    """
    typed = _typed(frame, "the table of scores").sort_values(
        KEY_COLUMNS, na_position="first", kind="stable"
    )
    twice = typed[typed.duplicated(KEY_COLUMNS)]
    if len(twice):
        where = ", ".join(f"{k} {v}" for k, v in twice.iloc[0][KEY_COLUMNS].items())
        raise UserError(
            f"the table of scores has two rows for {where}: aggregate each evaluation once"
        )
    write_text(path, typed.to_csv(index=False, float_format="%.6g", lineterminator="\n"))


def _typed(frame: DataFrame, name: str) -> DataFrame:
    """The same rows with columns checked, ordered and converted to their types."""
    for what, columns in (
        ("lacks", [c for c in SCORE_COLUMNS if c not in frame]),
        ("has unknown", [c for c in frame if c not in SCORE_COLUMNS]),
    ):
        if columns:
            raise UserError(
                f"{name} {what} column(s) {', '.join(columns)}: run the rule `scores` again"
            )
    frame = frame[SCORE_COLUMNS].copy()
    for column in TEXT_COLUMNS:
        # A note without line breaks: each line of the file is a score.
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
    """paper, baseline, ours or control."""
    reconstruction: bool = False
    citation: str = ""
    """Key of its paper; "" if it has none."""
    compresses_layers: bool = False
    """Whether it also compresses other matrices than the embedding.

    Such methods are not compared with those that compress the embedding alone.
    """
    base: str = ""
    """Name of the method, which its variants share."""
    setting: str = "best"
    """best, or published: precision, weights and training of the paper."""
    uniform: str = ""
    """Name of the variant that is fitted without counts and is else the same; "" if there is none.
    """


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
    """Label of its checkpoint: that of the model, unless it is fine-tuned for the task."""
    percent: bool = True
    """Whether scores are shown times 100."""
    metrics: dict[str, str] = field(default_factory=dict)
    """Labels of the task's further metrics; those without are shown by name."""
    family: str = ""
    """Of a task whose models are trained after compression, the task that fine-tunes the
    uncompressed model; "" for others."""
    unscaled: list[str] = field(default_factory=list)
    """Further metrics that are not shown times 100."""
    lower_is_better: list[str] = field(default_factory=list)
    """Further metrics whose lower values are better."""

    def is_percent(self, metric: str) -> bool:
        """Whether a metric is shown times 100."""
        return self.percent if metric == self.metric else metric not in self.unscaled

    def is_higher_better(self, metric: str) -> bool:
        """Whether higher values of a metric are better."""
        main = metric == self.metric
        return self.higher_is_better if main else metric not in self.lower_is_better

    def label_of(self, metric: str) -> str:
        """Label of a metric."""
        main = metric == self.metric
        return self.metric_label if main else self.metrics.get(metric, metric)


@dataclass(frozen=True)
class Labels:
    """Methods and tasks in the order in which they are shown, and the study's target ratios."""

    methods: dict[str, MethodLabel]
    tasks: dict[str, TaskLabel]
    ratios: list[float]

    @classmethod
    def from_json(cls, value: dict[str, Any]) -> "Labels":
        """From results/labels.json."""
        methods = {k: MethodLabel(**v) for k, v in value["methods"].items()}
        # By default a metric whose lower values are better, as perplexity, is not a percentage.
        tasks = {
            k: TaskLabel(**{"percent": v.get("higher_is_better", True)} | v)
            for k, v in value["tasks"].items()
        }
        return cls(methods, tasks, sorted(value["ratios"]))

    def at_best(self) -> "Labels":
        """The same labels without variants as published of methods that are there at their best."""
        at_best = {method.base for method in self.methods.values() if method.setting == "best"}
        shown = {
            name: method
            for name, method in self.methods.items()
            if method.setting == "best" or method.base not in at_best
        }
        return replace(self, methods=shown)

    def rows(self, frame: DataFrame) -> DataFrame:
        """Rows of a table whose column `method` is empty or names one of these methods."""
        return frame[frame["method"].isin(["", *self.methods])]

    def block(self, ratio: float) -> float:
        """The target ratio of the study that is closest to a codec's own, on a log scale."""
        return min(self.ratios, key=lambda r: abs(math.log(r / ratio)))


def select_scores(
    scores: DataFrame,
    labels: Labels,
    tasks: Collection[str],
    methods: Collection[str],
    ratios: Collection[float],
) -> tuple[DataFrame, Labels]:
    """Select rows by task, method and target ratio, with their labels; an empty list means all.

    The uncompressed model is always kept, and controls where no method is selected. A codec of
    fixed size belongs to the target ratio under which tables list it.

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
    """Average over seeds: one row for each task, method, target ratio and metric.

    `value_sd` is the standard deviation of the value over seeds (NaN for a single seed), `seeds`
    their number. `retention_low` and `retention_high` are those of the mean over seeds.

    Raises:
        UserError: if one task has several protocols or models.
    """
    scores = _typed(scores, "the table of scores")
    for column in ("protocol", "model"):
        mixed = scores.groupby("task")[column].nunique()
        if (mixed > 1).any():
            raise UserError(
                f"task {mixed.idxmax()} mixes several values of {column}: "
                "use one task entry for each"
            )
    groups = scores.groupby(["task", "method", "target_ratio", "metric"], dropna=False, sort=True)
    means = groups[[c for c in FLOAT_COLUMNS if c != "target_ratio"]].mean()
    for bound in ("low", "high"):
        means[f"retention_{bound}"] = means[f"mean_retention_{bound}"]
    means["value_sd"] = groups["value"].std()
    means["seeds"] = groups["value"].count()  # a row a seed
    means["n"] = groups["n"].max()
    means["note"] = groups["note"].max()
    means["protocol"] = groups["protocol"].first()
    return means.reset_index()
