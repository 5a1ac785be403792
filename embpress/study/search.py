"""The search for settings of fine-tuning: candidates out of a config's lists, and the choice.
Imports no torch.

A value under a task's `finetune` may be a list: every combination is a candidate. Each trains on
the training examples less the share `held_out` and is scored on that share; the best then trains on
all training examples. Test examples play no part.
"""

import itertools
import math
from typing import Any

HELD_OUT = "held_out"
"""Key beside the settings: the share of the training examples on which candidates are scored."""
RECORD = "search.json"
"""Beside a checkpoint: {"chosen": its settings, "candidates": [what each candidate came to]}."""

Settings = dict[str, Any]


def is_searched(finetune: Settings) -> bool:
    """Whether an entry's `finetune` is a grid."""
    return any(isinstance(value, list) for value in finetune.values())


def candidates(finetune: Settings) -> dict[str, Settings]:
    """Settings of each candidate by its name, such as "epochs_3+learning_rate_5e-05": Snakemake
    passes on no = and ,.

    The order is the config's: the values of the last list vary fastest.
    """
    fixed = {key: value for key, value in finetune.items() if key != HELD_OUT}
    lists = {key: value for key, value in fixed.items() if isinstance(value, list)}
    grid = [dict(zip(lists, values)) for values in itertools.product(*lists.values())]
    return {
        "+".join(f"{key}_{value!r}" for key, value in point.items()): fixed | point
        for point in grid
    }


def best(found: list[dict[str, Any]]) -> int:
    """Position of the candidate with the highest score, of equal ones the first; one without a
    number is the worst.

    Args:
        found: what the candidates came to, in their order: `score` each.
    """
    scores = [
        -math.inf if math.isnan(candidate["score"]) else candidate["score"] for candidate in found
    ]
    return scores.index(max(scores))


def settled(entry: dict[str, Any], found: list[dict[str, Any]]) -> dict[str, Any]:
    """A task's entry with the best candidate's settings; as it is where there are no candidates."""
    return entry | {"finetune": found[best(found)]["settings"]} if found else entry


def rows(found: dict[str, list[dict[str, Any]]]) -> list[dict[str, Any]]:
    """A row a candidate, whether it was chosen among them.

    Args:
        found: what the candidates of each task came to, in their order.
    """
    columns = ("candidate", "seed", "metric", "score", "trained_on", "held_out")
    return [
        {"task": task}
        | {column: candidate[column] for column in columns}
        | {"chosen": i == best(own)}
        for task, own in found.items()
        for i, candidate in enumerate(own)
    ]
