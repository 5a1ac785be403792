"""Verdicts of comparisons on the papers' claims. Imports no torch, which reports do not need."""

import math
from dataclasses import dataclass
from pathlib import Path

import pandas
from pandas import DataFrame

from ..study.metric_names import ERRORS
from .scores import Labels

HOLDS = "holds"
UNDECIDED = "undecided"
FAILS = "does not hold"
OF_NO_USE = "of no use"
NOT_MEASURED = "not measured"
VERDICTS = (HOLDS, UNDECIDED, FAILS, OF_NO_USE, NOT_MEASURED)
LEAST_RETENTION = 5.0
"""Percent of the uncompressed score below which a model is of no use."""

CLAIM_COLUMNS = [
    *("claim", "paper", "evidence", "better", "worse", "task", "metric", "ratio"),
    *("better_value", "worse_value", "difference", "low", "high", "n", "seeds"),
    *("better_achieved_ratio", "worse_achieved_ratio", "verdict", "note"),
]


@dataclass(frozen=True)
class MetricPair:
    """Both values of a comparison, means over seeds, with the interval of their difference.

    The bounds and the number of examples n are NaN for metrics without test examples.
    """

    better: float
    worse: float
    low: float = math.nan
    high: float = math.nan
    n: float = math.nan


def verdict(values: MetricPair, higher_is_better: bool) -> str:
    """Judge whether `better` is better.

    The interval of the difference decides where there is one, else the values. An interval that
    covers 0 and a tie are undecided.
    """
    if math.isnan(values.low):
        low = high = values.better - values.worse
    else:
        low = values.low
        high = values.high
    if not higher_is_better:
        low, high = -high, -low
    return HOLDS if low > 0 else FAILS if high < 0 else UNDECIDED


def read_claims(path: Path) -> DataFrame:
    """Read results/claims.csv, which `to_csv` has written."""
    rows = pandas.read_csv(path, keep_default_na=False, na_values=[""])
    return rows.assign(note=rows["note"].fillna(""))


def shown_claims(rows: DataFrame, scores: DataFrame, labels: Labels) -> DataFrame:
    """The comparisons of results/claims.csv, as tables show them.

    The verdict is OF_NO_USE where neither model keeps LEAST_RETENTION of the uncompressed score:
    the order of such models says nothing about models that one would use. The achieved ratio of a
    method that compresses layers is that of the whole model.
    """
    rows = rows.copy()
    for index, row in rows.iterrows():
        at_ratio = scores["target_ratio"].isna() | (scores["target_ratio"] == row["ratio"])
        of_task = scores[(scores["task"] == row["task"]) & at_ratio]
        for side in ("better", "worse"):
            if labels.methods[row[side]].compresses_layers:
                ratio = of_task.loc[of_task["method"] == row[side], "model_ratio"].mean()
                rows.loc[index, f"{side}_achieved_ratio"] = ratio
        both = of_task["method"].isin([row["better"], row["worse"]])
        kept = of_task.loc[both & (of_task["metric"] == row["metric"]), "retention"]
        is_measured = row["verdict"] != NOT_MEASURED
        if is_measured and len(kept) and (kept < LEAST_RETENTION).all():
            rows.loc[index, "verdict"] = OF_NO_USE
    return rows


def summarize_claim(rows: DataFrame) -> str:
    """Summarize the verdicts of a claim's comparisons, as in "holds at 3 of 4 (1 undecided)".

    Errors of the matrix, whose differences have no interval, are counted apart. The number after
    "of" is that of the comparisons that hold, are undecided or do not hold.
    """
    if (rows["verdict"] == NOT_MEASURED).all():
        return NOT_MEASURED
    is_error = rows["metric"].isin(list(ERRORS))
    parts = [_count(rows[~is_error])] if not is_error.all() else []
    if is_error.any():
        parts.append(f"of errors without interval {_count(rows[is_error])}")
    return "; ".join(parts)


def _count(rows: DataFrame) -> str:
    """Number of comparisons by verdict."""
    counts = {v: int((rows["verdict"] == v).sum()) for v in VERDICTS}
    if counts[NOT_MEASURED] == len(rows):
        return NOT_MEASURED
    judged = sum(counts[v] for v in (HOLDS, UNDECIDED, FAILS))
    others = [f"{counts[v]} {'against it' if v == FAILS else v}" for v in VERDICTS[1:] if counts[v]]
    return f"holds at {counts[HOLDS]} of {judged}" + (f" ({', '.join(others)})" if others else "")


def to_csv(rows: DataFrame) -> str:
    """The rows as CSV, floats with 6 significant digits."""
    whole = rows.assign(**{c: pandas.to_numeric(rows[c]).astype("Int64") for c in ("n", "seeds")})
    return whole.to_csv(index=False, float_format="%.6g", lineterminator="\n")
