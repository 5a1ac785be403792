"""Sentences about a kept run, for the templates of pages.

A sentence that orders two methods comes from their paired difference: it says that one is better
where the interval excludes 0, and else that they cannot be told apart.
"""

from collections.abc import Sequence

from embpress.analysis.scores import mean_over_seeds
from embpress.pipeline.paired_differences import MEAN
from embpress.report.plots.panels import main_scores
from embpress.report.tables.table import number

from .kept_run import Estimate, NotKept
from .tables import RunTables
from .text import bounds, listed, with_interval

ABOVE = ">"
TIED = "≈"


class WrongStatement(AssertionError):
    """A page states an order that the interval of the difference does not show."""


class Statements(RunTables):
    """What templates call, for one kept run."""

    def provenance(self) -> str:
        """Commit, date, command and cost of the run."""
        about = self.run.about
        seeds = self.run.scores["seed"].nunique()
        return (
            f"`{about['command']}` at commit `{about['commit'][:10]}`, {about['date']}, "
            f"{'one seed' if seeds == 1 else f'{seeds} seeds'}, "
            f"{about['core_seconds']:,} core-seconds "
            f"([tables and config](runs/{self.run.folder.name}))"
        )

    def value(self, method: str, ratio: float, task: str = MEAN) -> str:
        """Retention in percent."""
        return number(self.run.retention(method, ratio, task).value)

    def score(self, method: str, ratio: float | None, task: str) -> str:
        """A task's main score, mean over seeds; a control has no ratio.

        Raises:
            NotKept: if the run has none.
        """
        about = self.run.labels.tasks[task]
        rows = mean_over_seeds(self.run.scores)
        rows = rows[(rows["method"] == method) & (rows["task"] == task)]
        rows = rows[rows["metric"] == about.metric]
        rows = rows[rows["target_ratio"].isna() if ratio is None else rows["target_ratio"] == ratio]
        if len(rows) != 1 or rows["value"].isna().any():
            raise NotKept(f"{self.run.folder.name} has no score of {method} on {task} at {ratio}x")
        return number(float(rows["value"].iloc[0]) * (100 if about.percent else 1))

    def compare(self, first: str, second: str, ratio: float, task: str = MEAN) -> str:
        """Clause that orders two methods as far as the interval shows it."""
        gap = self.run.difference(first, second, ratio, task)
        names = self.run.label(first), self.run.label(second)
        if not gap.sign:
            return (
                f"{names[0]} and {names[1]} cannot be told apart "
                f"(difference {with_interval(gap)} points)"
            )
        word = "better" if gap.sign > 0 else "worse"
        size = Estimate(abs(gap.value), *sorted((gap.sign * gap.low, gap.sign * gap.high)))
        return f"{names[0]} is {number(size.value)} points {word} than {names[1]}, {bounds(size)}"

    def better(self, first: str, second: str, ratio: float, task: str = MEAN) -> str:
        """The difference with its interval, for a sentence that calls the first method better.

        Raises:
            WrongStatement: unless the interval lies above 0.
        """
        gap = self.run.difference(first, second, ratio, task)
        if gap.sign <= 0:
            raise WrongStatement(
                f"{self.run.folder.name}: {first} is not better than {second} on {task} at "
                f"{ratio:g}x, {with_interval(gap)}: change the sentence in the template"
            )
        return f"{number(gap.value)} points, {bounds(gap)}"

    def ranking(self, ratio: float, task: str = MEAN, among: Sequence[str] | None = None) -> str:
        """Methods from the best to the worst; ≈ between neighbours that cannot be told apart."""
        ranked = [m for m in self.run.methods(ratio, task) if among is None or m in among]
        parts = [self.run.label(method) for method in ranked[:1]]
        for better, worse in zip(ranked, ranked[1:]):
            gap = self.run.difference(better, worse, ratio, task)
            parts += [ABOVE if gap.sign > 0 else TIED, self.run.label(worse)]
        return " ".join(parts)

    def leaders(self, ratio: float, task: str = MEAN) -> str:
        """Clause on the method with the highest retention, and those not told apart from it.

        Raises:
            NotKept: if there are not two methods.
        """
        ranked = self.run.methods(ratio, task)
        if len(ranked) < 2:
            raise NotKept(f"{self.run.folder.name} compares no methods on {task} at {ratio:g}x")
        best, *others = ranked
        tied = [m for m in others if not self.run.difference(best, m, ratio, task).sign]
        if not tied:
            return f"{self.run.label(best)} is better than every other method"
        names = listed([self.run.label(method) for method in tied])
        return f"{names} cannot be told apart from {self.run.label(best)}, which is first"

    def losses(self, method: str, others: Sequence[str], ratio: float) -> str:
        """Tasks on which one of the others is better than a method, and by how much; or "none"."""
        found = []
        for task in self.run.tasks:
            for other in others:
                try:
                    gap = self.run.difference(other, method, ratio, task)
                except NotKept:
                    continue
                if gap.sign > 0:
                    place = f"{self.run.labels.tasks[task].label} ({self.run.label(other)}"
                    found.append(f"{place}, {number(gap.value)} points, {bounds(gap)})")
        return listed(found)

    def seeds_clause(self) -> str:
        """Whether intervals cover seeds."""
        return " and seeds" if self.run.scores["seed"].nunique() > 1 else "; one seed"

    def task_labels(self) -> str:
        """Labels of the tasks that means are over."""
        return listed([self.run.labels.tasks[task].label for task in self.run.tasks])

    def achieved(self, method: str) -> str:
        """The achieved ratio of a method, the lowest of its ratios."""
        scores = self.run.scores
        return f"{scores.loc[scores['method'] == method, 'achieved_ratio'].min():.2f}x"

    def fixed_sizes(self) -> str:
        """Methods that only have the lowest ratio of the study, with their achieved ratios."""
        scores = self.run.scores
        lowest = min(self.run.labels.ratios)
        blocks = scores["target_ratio"].dropna().map(self.run.labels.block)
        single = blocks.groupby(scores["method"]).agg(["min", "max"])
        names = single[(single["max"] == lowest)].index
        chosen = [
            m
            for m, about in self.run.best.methods.items()
            if m in names and not about.compresses_layers
        ]
        return listed([f"{self.run.label(m)} {self.achieved(m)}" for m in chosen])

    def best_value(self, ratio: float, task: str, among: Sequence[str]) -> str:
        """The highest retention among some methods in %, with the method before it."""
        best = next(m for m in self.run.methods(ratio, task) if m in among)
        return f"{self.run.label(best)} {self.value(best, ratio, task)} %"

    def n_predicted(self) -> int:
        """Rows that `predictors_table` correlates."""
        return max(correlation.n for correlation in self.correlations.values())

    def n_examples(self, task: str) -> str:
        """Test examples of a task's main metric; of language modelling, predicted tokens."""
        scores = main_scores(self.run.scores, self.run.labels)
        return f"{int(scores.loc[scores['task'] == task, 'n'].max()):,}"

    def epochs(self, task: str) -> str:
        """Epochs of the last stage of a distilled task."""
        return str(self.run.config["tasks"][task]["distil"]["stage2"]["epochs"])
