"""Markdown tables of a kept run, for the templates of pages."""

import math
from collections.abc import Mapping, Sequence
from functools import cached_property
from typing import Any

from pandas import DataFrame

from embpress.analysis.predictors import PREDICTOR_METRICS, Correlation, correlate_metrics
from embpress.analysis.scores import mean_over_seeds
from embpress.analysis.verdicts import FAILS, HOLDS, OF_NO_USE, UNDECIDED
from embpress.pipeline.paired_differences import MEAN, MEAN_OF_SCORES
from embpress.report.plots.panels import main_scores
from embpress.report.tables import claims_table, to_text
from embpress.report.tables.table import Table, number
from embpress.study.metric_names import ERRORS

from .kept_run import Estimate, KeptRun, NotKept
from .text import markdown, with_interval

DASH = "–"
SMALL = 0.1
"""Below this, values of metrics have a fourth decimal."""
TALLY = (HOLDS, UNDECIDED, FAILS, OF_NO_USE)


class RunTables:
    """Tables of one kept run."""

    def __init__(self, run: KeptRun) -> None:
        self.run = run

    def interval(self, method: str, ratio: float, task: str = MEAN) -> str:
        """Retention with its interval; a dash where the run has none."""
        try:
            return with_interval(self.run.retention(method, ratio, task))
        except NotKept:
            return DASH

    def means_table(self, ratios: Sequence[float], methods: Sequence[str] | None = None) -> str:
        """Markdown table of mean retention by ratio, of all tasks and of those without perplexity.

        Rows have the order of the study.
        """
        means = [(MEAN, "all tasks")]
        if any(self._has(MEAN_OF_SCORES, ratio) for ratio in ratios):
            means.append((MEAN_OF_SCORES, "without perplexity"))
        titles = [f", {title}" if len(means) > 1 else "" for _, title in means]
        head = ["method", *(f"{r:g}x{title}" for r in ratios for title in titles)]
        rows = [
            [self._name(m), *(self.interval(m, r, mean) for r in ratios for mean, _ in means)]
            for m in self._rows(methods, ratios)
        ]
        return markdown(head, rows)

    def protocols_table(self, ratio: float) -> str:
        """Markdown table of the retention on every task, students among them, at a ratio."""
        tasks = self.run.labels.tasks
        head = ["method", *(about.label for about in tasks.values())]
        rows = [
            [self._name(method), *(self.interval(method, ratio, task) for task in tasks)]
            for method, about in self.run.best.methods.items()
            if not about.compresses_layers
        ]
        return markdown(head, [row for row in rows if set(row[1:]) != {DASH}])

    def metrics_table(self, task: str, ratio: float) -> str:
        """Markdown table of every metric of a task at a ratio, means over seeds.

        The best method first, then whole models in the order of the study.
        """
        about = self.run.labels.tasks[task]
        rows = mean_over_seeds(self.run.best_scores)
        own = rows[(rows["task"] == task) & rows["value"].notna()]
        metrics = [m for m in (about.metric, *about.metrics) if m in set(own["metric"])]
        values = own.set_index(["method", "target_ratio", "metric"])["value"].to_dict()
        whole = [m for m, about in self.run.best.methods.items() if about.compresses_layers]
        ordered = ["identity", *self.run.methods(ratio, task), *whole]
        lines = []
        for method in ordered:
            at = [r for (m, r, _) in values if m == method and (method == "identity" or r == ratio)]
            if at:
                cells = [values.get((method, at[0], m)) for m in metrics]
                shown = [
                    DASH if v is None else number(v, 4 if abs(v) < SMALL else 3) for v in cells
                ]
                lines.append([self._name(method), *shown])
        names = [about.metrics.get(m, about.metric_label) for m in metrics]
        return markdown(["method", *names], lines)

    def settings_table(self, ratios: Sequence[float], task: str = MEAN) -> str:
        """Markdown table of the retention of methods as published and at their best; "" if the
        study has none as published.
        """
        methods = self.run.labels.methods
        published = {m.base: name for name, m in methods.items() if m.setting == "published"}
        best = {m.base: name for name, m in reversed(self.run.best.methods.items())}
        titles = ("as published", "at its best")
        head = ["method", *(f"{ratio:g}x, {title}" for ratio in ratios for title in titles)]
        rows = [
            [
                self.run.label(best[base]),
                *(self.interval(m, r, task) for r in ratios for m in (name, best[base])),
            ]
            for base, name in published.items()
            if base in best
        ]
        return markdown(head, rows) if rows else ""

    def tasks_table(self, ratio: float) -> str:
        """Markdown table of the retention on each task at a ratio."""
        tasks = self.run.tasks
        means = [MEAN] if self._has(MEAN, ratio) else []
        head = ["method", *(self.run.labels.tasks[task].label for task in tasks)]
        rows = [
            [self._name(m), *(self.interval(m, ratio, t) for t in (*tasks, *means))]
            for m in self._rows(None, [ratio])
        ]
        return markdown([*head, *means], rows)

    def whole_models_table(self) -> str:
        """Markdown table of the retention of whole models, by method and ratio of the model.

        Tasks are columns, students too; the last column is the mean over tasks without students.
        """
        best = self.run.best
        scores = main_scores(self.run.best_scores, best).dropna(subset="target_ratio")
        own = {(r.method, r.target_ratio, r.task): r for r in scores.itertuples()}
        rows = []
        for method in self._whole_models():
            targets = sorted({ratio for (name, ratio, _) in own if name == method})
            for ratio in targets:
                found = [own.get((method, ratio, task)) for task in best.tasks]
                achieved = next(r.model_ratio for r in found if r is not None)
                mean = self._mean_at(method, ratio, targets)
                rows.append([self._name(method), f"{achieved:.1f}x", *map(_retention, found), mean])
        head = ["method", "ratio", *(about.label for about in best.tasks.values()), MEAN]
        empty = [all(row[column] == DASH for row in rows) for column in range(len(head))]
        kept = [
            [cell for cell, left_out in zip(row, empty) if not left_out] for row in (head, *rows)
        ]
        return markdown(kept[0], kept[1:])

    def averages_table(self) -> str:
        """Markdown table of averages over tasks, of whole models by method and ratio."""
        averages = self.run.config["averages"]
        rows = self.run.averages.dropna(subset="target_ratio")
        lines = [
            [self._name(method), f"{ratio:g}x", *(self.average(method, ratio, a) for a in averages)]
            for method in self._whole_models()
            for ratio in sorted(rows.loc[rows["method"] == method, "target_ratio"].unique())
        ]
        return markdown(["method", "ratio", *(a["label"] for a in averages.values())], lines)

    def average(self, method: str, ratio: float, name: str) -> str:
        """Mean score of tasks, compressed over uncompressed, in %, with its interval."""
        rows = self.run.averages
        own = rows[(rows["method"] == method) & (rows["target_ratio"] == ratio)]
        return _retention(next(own[own["task"] == name].itertuples(), None))

    @cached_property
    def correlations(self) -> Mapping[str, Correlation]:
        """Rank correlations of metrics with retention at equal ratio, by metric."""
        return correlate_metrics(self.run.best_scores, self.run.best).equal_ratio

    def predictors_table(self) -> str:
        """Markdown table of rank correlations at equal ratio, the highest first."""
        ranked = sorted(self.correlations.items(), key=lambda item: -item[1].value)
        return markdown(
            ["metric", "rank correlation"],
            [
                [PREDICTOR_METRICS[name][0], f"{c.value:.2f} [{c.low:.2f}, {c.high:.2f}]"]
                for name, c in ranked
            ],
        )

    def bound_table(self, method: str, ratios: Sequence[float]) -> str:
        """Markdown table of a method's weighted error and distance to the bound by checkpoint."""
        rows = [
            [checkpoint, *(self._distance(method, ratio, task) for ratio in ratios)]
            for checkpoint, task in self._checkpoints().items()
        ]
        return markdown(["table", *(f"{ratio:g}x" for ratio in ratios)], rows)

    def distances_table(self, methods: Sequence[str], ratio: float) -> str:
        """Markdown table of weighted errors and distances to the bound, a column a checkpoint."""
        checkpoints = self._checkpoints()
        rows = [
            [self._name(m), *(self._distance(m, ratio, task) for task in checkpoints.values())]
            for m in methods
        ]
        return markdown(["method", *checkpoints], rows)

    def _checkpoints(self) -> dict[str, str]:
        """Names of the compressed checkpoints, each with the first task that it is scored on."""
        found: dict[str, str] = {}
        for task in self.run.tasks:
            about = self.run.labels.tasks[task]
            found.setdefault(about.checkpoint or about.model, task)
        return found

    def _distance(self, method: str, ratio: float, task: str) -> str:
        """Count-weighted relative error, and its distance to the bound in dB; or a dash."""
        scores = self.run.scores
        own = scores[(scores["method"] == method) & (scores["target_ratio"] == ratio)]
        own = own[own["task"] == task]
        if own.empty:
            return DASH
        error, distance = (
            own[name].mean() for name in ("weighted_relative_error", "weighted_distance_db")
        )
        return f"{error:.4f}, {distance:.2f} dB"

    def claims_overview(self) -> str:
        """Markdown table of the claims, with a tally of task scores and one of matrix errors."""
        rows = self.run.claims
        head = ["paper", "claim", "evidence", *(f"scores: {v}" for v in TALLY)]
        head += [f"errors: {v}" for v in (HOLDS, FAILS)]
        lines = []
        for key, claim in self.run.claim_entries.items():
            own = rows[rows["claim"] == key]
            errors = own["metric"].isin(list(ERRORS))
            cells = [*tally(own[~errors], TALLY), *tally(own[errors], (HOLDS, FAILS))]
            lines.append([claim.label or claim.paper, claim.text, claim.evidence, *cells])
        return markdown(head, lines, n_text=3)

    def claims_text(self) -> str:
        """Every comparison of the claims, as results/tables/claims.txt has it."""
        table: Table = claims_table(self.run.claims, self.run.claim_entries, self.run.labels)
        return to_text(table).rstrip()

    def _whole_models(self) -> list[str]:
        """Methods that compress layers, in the order of the study."""
        return [name for name, about in self.run.best.methods.items() if about.compresses_layers]

    def _mean_at(self, method: str, ratio: float, targets: Sequence[float]) -> str:
        """Mean at the ratio of the study that lists this target, if none is nearer to it."""
        block = self.run.labels.block(ratio)
        listed_there = [target for target in targets if self.run.labels.block(target) == block]
        nearest = min(listed_there, key=lambda target: abs(math.log(target / block)))
        return self.interval(method, block) if nearest == ratio else DASH

    def _rows(self, methods: Sequence[str] | None, ratios: Sequence[float]) -> list[str]:
        """Methods of a table in the order of the study, those that the run has."""
        tasks = (MEAN, *self.run.tasks)
        known = [
            m
            for m, about in self.run.best.methods.items()
            if not about.compresses_layers
            and any(self.interval(m, r, task) != DASH for r in ratios for task in tasks)
        ]
        return known if methods is None else [m for m in methods if m in known]

    def _name(self, method: str) -> str:
        """The label; controls are in italics."""
        about = self.run.labels.methods[method]
        return f"*{about.label}* (control)" if about.kind == "control" else about.label

    def _has(self, task: str, ratio: float) -> bool:
        return bool(self.run.methods(ratio, task))


def tally(rows: DataFrame, verdicts: Sequence[str]) -> list[str]:
    """Number of comparisons by verdict."""
    return [str(int((rows["verdict"] == v).sum())) for v in verdicts]


def _retention(row: Any) -> str:
    """Retention of a row of scores, with its interval; a dash without a row."""
    if row is None:
        return DASH
    return with_interval(Estimate(row.retention, row.retention_low, row.retention_high))
