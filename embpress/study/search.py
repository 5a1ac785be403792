"""Grid search over fine-tuning settings: the candidates, and the selection of the best.

A value under a task's `finetune` may be a list; every combination of values is a candidate. Each
candidate is trained without the fraction `held_out` of the training examples and scored on that
fraction. The best one is then trained on all training examples. Test examples are never used.
Imports no torch.
"""

import itertools
import math
from typing import Any

from .task_training import FineTuning

RECORD = "search.json"
"""File beside a checkpoint: {"chosen": its settings, "candidates": [result of each candidate]}."""

Settings = dict[str, Any]
"""Keys and values of `task_training.Training`."""


def candidates(finetune: FineTuning) -> dict[str, Settings]:
    """Settings of each candidate by its name, such as "epochs_3+learning_rate_5e-05".

    Names hold no "=" or ",", which Snakemake does not accept. Settings are in the order of the
    fields of FineTuning, and the values of the last list vary fastest.
    """
    fixed = finetune.options()
    lists = finetune.searched
    grid = [dict(zip(lists, values)) for values in itertools.product(*lists.values())]
    return {
        "+".join(f"{key}_{value!r}" for key, value in point.items()): fixed | point
        for point in grid
    }


def best(results: list[dict[str, Any]]) -> int:
    """Position of the first candidate with the highest score; NaN counts as the lowest.

    Args:
        results: a record a candidate, in their order, each with its `score`.
    """
    scores = [
        -math.inf if math.isnan(candidate["score"]) else candidate["score"] for candidate in results
    ]
    return scores.index(max(scores))


def with_best_settings(entry: dict[str, Any], results: list[dict[str, Any]]) -> dict[str, Any]:
    """A task's entry with the settings of its best candidate; unchanged without candidates."""
    return entry | {"finetune": results[best(results)]["settings"]} if results else entry


def rows(results: dict[str, list[dict[str, Any]]]) -> list[dict[str, Any]]:
    """Table rows, one a candidate, with whether it was chosen.

    Args:
        results: records of the candidates of each task, in their order.
    """
    columns = ("candidate", "seed", "metric", "score", "trained_on", "held_out")
    return [
        {"task": task}
        | {column: candidate[column] for column in columns}
        | {"chosen": i == best(own)}
        for task, own in results.items()
        for i, candidate in enumerate(own)
    ]
