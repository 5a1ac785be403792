"""Balanced training and test rows of one file, without a shared group."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from ..data.rows import Row
from ..errors import UserError
from ._examples import SPLIT_SEED, Label, LabelledRows

if TYPE_CHECKING:
    from .classification import ClassificationEntry

TextRow = dict[str, str]
"""Values by column, none of which is missing."""


def balanced_split(
    rows: list[TextRow], entry: ClassificationEntry, positions: dict[str, int]
) -> tuple[LabelledRows, LabelledRows]:
    """Training and test rows of one file such that no group (a film, say) and no text is in both.

    Both have as many examples of each label, so that 1 / number of labels is chance.

    Args:
        rows: of the file; those with other labels are left out.
        entry: the task.
        positions: position of each label by how the file may write it.

    Raises:
        UserError: if there are too few examples for the numbers that the entry gives.
    """
    data = entry.data
    assert data.path is not None and data.group is not None  # the entry is checked
    unique: dict[tuple[str, ...], TextRow] = {}
    for row in rows:
        if row[data.label] in positions:
            unique.setdefault(tuple(row[column] for column in data.text), row)
    groups: dict[str, list[TextRow]] = {}
    for row in unique.values():
        groups.setdefault(row[data.group], []).append(row)
    generator = np.random.default_rng(SPLIT_SEED)
    parts: tuple[list[TextRow], list[TextRow]] = ([], [])
    sizes = (entry.train_examples or 0, entry.test_examples or 0)
    for group in generator.permutation(sorted(groups)):
        test_is_full = _balanced(parts[1], data.label, positions, sizes[1]) is not None
        parts[0 if test_is_full else 1].extend(groups[group])
    splits = []
    for part, n, key in zip(parts, sizes, ("train_examples", "test_examples")):
        # Groups come one after another: shuffle, so that a smaller number of examples is still a
        # fair sample.
        shuffled = [part[i] for i in generator.permutation(len(part))]
        chosen = _balanced(shuffled, data.label, positions, n)
        if chosen is None:
            raise UserError(f"{data.path} has too few examples of a label for {key}: {n}: lower it")
        labels: list[Label] = [positions[row[data.label]] for row in chosen]
        splits.append(LabelledRows(data.path, [Row(0, dict(row)) for row in chosen], labels))
    return splits[0], splits[1]


def _balanced(
    rows: list[TextRow], column: str, positions: dict[str, int], n: int
) -> list[TextRow] | None:
    """The first n rows with equal shares of the labels, in their order.

    None if a label has too few.
    """
    labels = set(positions.values())
    missing = dict.fromkeys(labels, n // len(labels))
    chosen = []
    for row in rows:
        position = positions[row[column]]
        if missing[position]:
            missing[position] -= 1
            chosen.append(row)
    return None if any(missing.values()) else chosen
