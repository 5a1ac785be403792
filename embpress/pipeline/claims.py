"""Test the papers' claims: every comparison under a study's `claims:`, by the study's results."""

from typing import Any

from pandas import DataFrame

from ..analysis.verdicts import CLAIM_COLUMNS, NOT_MEASURED, MetricPair, verdict
from ..errors import UserError
from ..study.artefact import ratio_name
from ..study.claim_entry import Comparison
from ..study.metric_names import ERRORS
from ..study.study import Study
from ..tasks import Outcomes, Task, task_class
from ..tasks._bootstrap import difference
from .aggregation import Evaluation
from .evaluation import read_outcomes


def judge(study: Study, evaluations: list[Evaluation], scores: DataFrame) -> DataFrame:
    """Compute the verdict of every comparison of a study's claims.

    Args:
        study: the study.
        evaluations: the study's evaluations, with the outcomes of test examples.
        scores: the study's table of scores, with matrix errors, achieved ratios and reasons for
            infeasible ratios.

    Returns:
        One row of CLAIM_COLUMNS a comparison and ratio, in the order of the config.

    Raises:
        UserError: if the table of scores lacks a row or a column of a comparison.
    """
    outcomes = OutcomeCache(evaluations)
    rows = [_row(study, comparison, outcomes, scores) for comparison in study.comparisons()]
    return DataFrame(rows, columns=CLAIM_COLUMNS)


class OutcomeCache:
    """Outcomes by task and variant; each file is read once."""

    def __init__(self, evaluations: list[Evaluation]) -> None:
        self._evaluations = evaluations
        self._read: dict[tuple[str, str], list[dict[str, Outcomes]]] = {}

    def read(self, task: str, variant: str) -> list[dict[str, Outcomes]]:
        """One entry a seed: the outcomes by the name of the ratio."""
        if (task, variant) not in self._read:
            files = [
                e.outcomes for e in self._evaluations if (e.task, e.variant) == (task, variant)
            ]
            self._read[task, variant] = [read_outcomes(file) for file in files]
        return self._read[task, variant]


def _row(
    study: Study, comparison: Comparison, outcomes: OutcomeCache, scores: DataFrame
) -> dict[str, Any]:
    """One comparison with its verdict."""
    claim = study.claims[comparison.claim]
    variants = (comparison.better, comparison.worse)
    sides = [_scores_of(scores, comparison, variant) for variant in variants]
    row = {
        "claim": comparison.claim,
        "paper": claim.paper,
        "evidence": claim.evidence,
        "better": comparison.better,
        "worse": comparison.worse,
        "task": comparison.task,
        "metric": comparison.by,
        "ratio": comparison.ratio,
        "seeds": sides[0]["seed"].nunique(),
        "better_achieved_ratio": sides[0]["achieved_ratio"].mean(),
        "worse_achieved_ratio": sides[1]["achieved_ratio"].mean(),
    }
    reason = next((note for side in sides for note in side["note"] if note), "")
    if reason:
        return row | {"verdict": NOT_MEASURED, "note": reason}
    task = task_class(study.tasks[comparison.task].kind)
    if comparison.by in ERRORS:
        values = _compare_errors(sides, comparison.by)
        higher_is_better = ERRORS[comparison.by]
    else:
        metric = next(metric for metric in task.metrics if metric.name == comparison.by)
        higher_is_better = metric.higher_is_better
        if not all((side["metric"] == comparison.by).any() for side in sides):
            note = f"The task was run without {comparison.by}."
            return row | {"verdict": NOT_MEASURED, "note": note}
        values = _compare_metric(task, comparison, outcomes)
    return row | {
        "better_value": values.better,
        "worse_value": values.worse,
        "difference": values.better - values.worse,
        "low": values.low,
        "high": values.high,
        "n": values.n,
        "verdict": verdict(values, higher_is_better),
        "note": "",
    }


def _scores_of(scores: DataFrame, comparison: Comparison, variant: str) -> DataFrame:
    """Rows of one side of a comparison; a control has no ratio and is compared at every ratio."""
    rows = scores[(scores["task"] == comparison.task) & (scores["method"] == variant)]
    rows = rows[rows["target_ratio"].isna() | (rows["target_ratio"] == comparison.ratio)]
    if rows.empty:
        raise UserError(
            f"the table of scores has no row of {variant} on {comparison.task}: write "
            "it again with the rule `scores`"
        )
    return rows


def _compare_errors(sides: list[DataFrame], column: str) -> MetricPair:
    """Mean reconstruction metrics of both sides, which have no interval."""
    if column not in sides[0]:
        raise UserError(
            f"the table of scores has no column {column}, the metric of a claim: choose another "
            "metric"
        )
    # The matrix is the same in all rows of a seed, whatever the metric of the task.
    better, worse = (side.groupby("seed")[column].first().mean() for side in sides)
    return MetricPair(float(better), float(worse))


def _compare_metric(task: type[Task], comparison: Comparison, outcomes: OutcomeCache) -> MetricPair:
    """A task's metric of both sides, with the bootstrap interval of the difference."""
    better, worse = (
        _outcomes_at(outcomes.read(comparison.task, variant), comparison.ratio)
        for variant in (comparison.better, comparison.worse)
    )
    result = difference(task, list(zip(better, worse)), comparison.task, comparison.by)
    return MetricPair(result.first, result.second, result.low, result.high, result.n)


def _outcomes_at(by_seed: list[dict[str, Outcomes]], ratio: float | None) -> list[Outcomes]:
    """Outcomes of each seed at a ratio; a control has a single artefact, at ratio 1."""
    name = ratio_name(1 if ratio is None else ratio)
    return [by_ratio[name if name in by_ratio else ratio_name(1)] for by_ratio in by_seed]
