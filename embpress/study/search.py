"""Grid search over fine-tuning settings: the candidates, and the selection of the best.

A value under a task's `finetune` may be a list; every combination of values is a candidate. Each
candidate is trained without the fraction `held_out` of the training examples and scored on that
fraction. The best one is then trained on all training examples. Test examples are never used.
Imports no torch.
"""

import itertools
import math
from typing import Any

from ..errors import UserError

HELD_OUT = "held_out"
"""Key beside the settings: the fraction of the training examples that scores candidates."""
RECORD = "search.json"
"""File beside a checkpoint: {"chosen": its settings, "candidates": [result of each candidate]}."""

Settings = dict[str, Any]


def is_searched(finetune: Settings) -> bool:
    """Whether an entry's `finetune` is a grid."""
    return any(isinstance(value, list) for value in finetune.values())


def candidates(finetune: Settings) -> dict[str, Settings]:
    """Settings of each candidate by its name, such as "epochs_3+learning_rate_5e-05".

    Names hold no "=" or ",", which Snakemake does not accept. The values of the config's last list
    vary fastest.
    """
    fixed = {key: value for key, value in finetune.items() if key != HELD_OUT}
    lists = {key: value for key, value in fixed.items() if isinstance(value, list)}
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


def check(where: str, finetune: Settings) -> None:
    """Check the rules for an entry's `finetune` that the schema cannot express.

    Raises:
        UserError: with the wrong key and its remedy.
    """
    for key, values in finetune.items():
        if isinstance(values, list) and len(values) < 2:
            raise UserError(
                f"{where}.{key}: {values} gives nothing to choose from: list two values or more, "
                "or write a single value without a list"
            )
        if isinstance(values, list) and len(set(values)) < len(values):
            twice = next(value for value in values if values.count(value) > 1)
            raise UserError(f"{where}.{key}: duplicate value {twice} in the list: remove one")
    if is_searched(finetune) and HELD_OUT not in finetune:
        key = next(key for key, value in finetune.items() if isinstance(value, list))
        raise UserError(
            f"{where}: {HELD_OUT!r} is missing: give the fraction of the training examples on "
            f"which the best {key} is chosen"
        )
    if not is_searched(finetune) and HELD_OUT in finetune:
        raise UserError(
            f"{where}.{HELD_OUT}: no setting has a list of values to choose from: remove it"
        )
