"""Entries of tasks for studies whose outcomes are made up: their data are never read."""

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
