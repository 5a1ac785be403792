"""Do the papers' claims hold? Each comparison that a study's `claims:` asks for.

Judged by what the study found.
"""

from typing import Any

from pandas import DataFrame

from ..analysis.verdicts import CLAIM_COLUMNS, NOT_MEASURED, MetricPair, verdict
from ..errors import UserError
from ..study.config import Comparison, comparisons_of
from ..study.metric_names import ERRORS
from ..tasks import Outcomes, Task, task_class
from ..tasks._bootstrap import difference
from .aggregation import Evaluation
from .evaluation import read_outcomes


def judge(config: dict[str, Any], evaluations: list[Evaluation], scores: DataFrame) -> DataFrame:
    """One row of CLAIM_COLUMNS a comparison and ratio, in the order of the config.

    Args:
        config: the study.
        evaluations: where the outcomes of test examples lie.
        scores: the study's table of scores: errors of the matrix, ratios reached, and why something
            could not be.

    Raises:
        UserError: if the table of scores lacks a column that a claim is tested by.
    """
    outcomes = OutcomeCache(evaluations)
    return DataFrame(
        [_row(config, c, outcomes, scores) for c in comparisons_of(config)], columns=CLAIM_COLUMNS
    )


class OutcomeCache:
    """Outcomes by task and variant, each file read once: a list over seeds of outcomes by ratio."""

    def __init__(self, evaluations: list[Evaluation]) -> None:
        self._evaluations = evaluations
        self._read: dict[tuple[str, str], list[dict[str, Outcomes]]] = {}

    def of(self, task: str, variant: str) -> list[dict[str, Outcomes]]:
        """Outcomes of each seed, by the name of the artefact."""
        if (task, variant) not in self._read:
            files = [
                e.outcomes for e in self._evaluations if (e.task, e.variant) == (task, variant)
            ]
            self._read[task, variant] = [read_outcomes(file) for file in files]
        return self._read[task, variant]


def _row(
    config: dict[str, Any], asked: Comparison, outcomes: OutcomeCache, scores: DataFrame
) -> dict[str, Any]:
    """One comparison with its verdict."""
    claim = config["claims"][asked.claim]
    sides = [_scores_of(scores, asked, variant) for variant in (asked.better, asked.worse)]
    row = {
        **{"claim": asked.claim, "paper": claim["paper"], "evidence": claim["evidence"]},
        **{
            "better": asked.better,
            "worse": asked.worse,
            "task": asked.task,
            "metric": asked.by,
            "ratio": asked.ratio,
        },
        "seeds": sides[0]["seed"].nunique(),
        **{
            f"{name}_achieved_ratio": side["achieved_ratio"].mean()
            for name, side in zip(("better", "worse"), sides)
        },
    }
    reason = next((note for side in sides for note in side["note"] if note), "")
    if reason:
        return row | {"verdict": NOT_MEASURED, "note": reason}
    task = task_class(config["tasks"][asked.task]["kind"])
    if asked.by in ERRORS:
        found = _errors(sides, asked.by)
        higher = ERRORS[asked.by]
    else:
        higher = next(m.higher_is_better for m in task.metrics if m.name == asked.by)
        if not all((side["metric"] == asked.by).any() for side in sides):
            return row | {"verdict": NOT_MEASURED, "note": f"The task was run without {asked.by}."}
        found = _metric(task, asked, outcomes)
    numbers = {
        "better_value": found.better,
        "worse_value": found.worse,
        "difference": found.better - found.worse,
    }
    interval = {"low": found.low, "high": found.high, "n": found.n}
    return row | numbers | interval | {"verdict": verdict(found, higher), "note": ""}


def _scores_of(scores: DataFrame, asked: Comparison, variant: str) -> DataFrame:
    """Rows of one side of a comparison; a control's, which have no ratio, at any ratio."""
    rows = scores[(scores["task"] == asked.task) & (scores["method"] == variant)]
    rows = rows[rows["target_ratio"].isna() | (rows["target_ratio"] == asked.ratio)]
    if rows.empty:
        raise UserError(
            f"the table of scores has no row of {variant} on {asked.task}: make it anew with the rule `scores`"
        )
    return rows


def _errors(sides: list[DataFrame], column: str) -> MetricPair:
    """An error of both matrices, which needs no test examples."""
    if column not in sides[0]:
        raise UserError(
            f"the table of scores has no column {column}, by which a claim is to be tested: choose another"
        )
    # The matrix is the same in all rows of a seed, whatever the metric of the task.
    better, worse = (side.groupby("seed")[column].first().mean() for side in sides)
    return MetricPair(float(better), float(worse))


def _metric(task: type[Task], asked: Comparison, outcomes: OutcomeCache) -> MetricPair:
    """A metric of the task, with the interval of the difference."""
    pairs = zip(
        *(_at(outcomes.of(asked.task, v), asked.ratio) for v in (asked.better, asked.worse))
    )
    found = difference(task, list(pairs), asked.task, asked.by)
    return MetricPair(found.first, found.second, found.low, found.high, found.n)


def _at(found: list[dict[str, Outcomes]], ratio: float | None) -> list[Outcomes]:
    """Outcomes of each seed at a ratio; a control has a single artefact, called 1."""
    name = "1" if ratio is None else f"{ratio:g}"
    return [by_ratio[name if name in by_ratio else "1"] for by_ratio in found]
