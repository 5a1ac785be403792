"""Entries of tasks for studies whose outcomes are made up: their data are never read."""

import numpy as np

from embpress.pipeline.evaluation import write_outcomes
from embpress.study.folders import outcomes_file

from ..task_entries import complete

DATA = {"format": "csv", "train": "train.csv", "test": "test.csv", "text": "text"}
LABELS = {"label": "label", "labels": ["no", "yes"]}


def classification(**keys):
    """A fine-tuned task with two labels."""
    return complete("classification", {"data": DATA | LABELS} | keys)


def language_modelling(**keys):
    """A task without training."""
    entry = {"protocol": "zero_shot", "data": {"corpus": "c"}, "tokens": 16, "block": 16}
    return complete("language_modelling", entry | keys)


def write_evaluations(study, wrong, folder, infeasible=()):
    """Write outcomes of a study of classification tasks, as its folder of results has them.

    `wrong` gives the error rate of each variant, and `infeasible` the tasks, variants and ratios
    without a result.
    """
    for task in study.tasks:
        for name, variant in study.variants.items():
            for seed in study.seeds:
                random = np.random.default_rng([len(task), *map(ord, name), seed])
                gold = np.random.default_rng(seed).integers(0, 2, 400).astype(np.int16)
                flipped = random.random(400) < wrong[name]
                predicted = np.where(flipped, 1 - gold, gold).astype(np.int16)
                done = [r for r in variant.ratios if (task, name, r) not in infeasible]
                own = {"predicted": predicted, "label": gold}
                path = outcomes_file(study, task, name, seed, folder)
                write_outcomes({f"{ratio:g}": own for ratio in done}, path)
