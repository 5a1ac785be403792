"""Labelled rows to training and test examples: which rows, which texts, which labels."""

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from scipy.sparse import coo_matrix
from scipy.sparse.csgraph import connected_components

from ..data.rows import Row, Table, read_content, read_rows, read_table
from ..errors import UserError
from ._base import Inputs
from ._labels import spellings_of

SPLIT_SEED = 0
"""Fixed, and not the study's seed: every run of a task has the same test examples."""


class Answers(NamedTuple):
    """Right answers to a question.

    Their texts, and where each begins in its context, in characters.
    """

    texts: tuple[str, ...]
    starts: tuple[int, ...]


Label = int | float | Answers
ReadLabel = Callable[[str], Label]
"""A label as it stands in a file to its position or number.

ValueError with what would be right where it is none.
"""


@dataclass(frozen=True)
class Examples:
    """Texts, or pairs of texts, and their labels."""

    texts: list[str]
    """(n x choices) first or only texts."""
    labels: list[Any]
    """(n) positions of labels, numbers, or answers."""
    seconds: list[str] | None = None
    """(n x choices) second texts of pairs."""
    choices: int = 1
    """Pairs of each label's example: 1, but for multiple choice."""


@dataclass(frozen=True)
class LabelledRows:
    """Rows of a file and the label of each."""

    name: str
    """The file's, for errors."""
    rows: list[Row]
    labels: list[Label]

    def at(self, positions: list[int]) -> "LabelledRows":
        """Some of the rows."""
        return LabelledRows(
            self.name, [self.rows[i] for i in positions], [self.labels[i] for i in positions]
        )


def as_list(value: Any) -> list[Any]:
    """A value that may stand alone in the config, as a list."""
    return value if isinstance(value, list) else [value]


def columns_of(data: dict[str, Any]) -> list[str]:
    """Every column that a task's `data` entry reads."""
    found = [*as_list(data["text"]), *data.get("choices", []), data["label"]]
    return list(
        dict.fromkeys([*found, *(data[key] for key in ("group", "answer_start") if key in data)])
    )


def read_split(data: dict[str, Any], split: str, inputs: Inputs) -> Table:
    """Rows of `train` or `test` in which a text stands.

    Raises:
        UserError: if the file is missing or wrong, a row has no text, or there are no rows; with
            file and line.
    """
    if split in inputs.files:
        path = str(inputs.files[split])
        content = read_content({}, path, {})
    else:
        path = data[split]
        content = read_content(data, path, inputs.wheels)
    layout = {"format": "jsonl", "label": data["label"]} if "hub" in data else data
    table = read_table(layout, path, content, columns_of(data))
    if not table.rows:
        raise UserError(f"{path} has no rows: the {split} split is empty")
    for row in table.rows:
        for column in (*as_list(data["text"])[:1], *data.get("choices", [])):
            if not row.values[column]:
                raise UserError(f"{table.place(row)}: no text in column {column!r}")
    return table


def read_labels(table: Table, data: dict[str, Any], read: ReadLabel) -> list[Label]:
    """The label of every row.

    Raises:
        UserError: if a row has none, or one that is not among those declared; with file, line and
            column.
    """
    labels = []
    for row in table.rows:
        value = row.values[data["label"]]
        try:
            if value is None or value == "":
                raise ValueError
            labels.append(read(value))
        except ValueError as error:
            where = f"{table.place(row)}, column {data['label']!r}"
            # The benchmarks publish test texts without labels, and the hub marks them so.
            if value in (None, "", "-1"):
                raise UserError(
                    f"{where}: no label: the split is unlabelled, name a labelled one"
                ) from error
            raise UserError(f"{where}: the label {value!r} is {error}") from error
    return labels


def to_examples(rows: list[Row], labels: list[Any], data: dict[str, Any]) -> Examples:
    """Texts of the columns that `data` names, with their labels."""
    first, *second = as_list(data["text"])
    choices = data.get("choices", [])
    if choices:
        texts = [str(row.values[first]) for row in rows for _ in choices]
        return Examples(
            texts, labels, [str(row.values[c]) for row in rows for c in choices], len(choices)
        )
    seconds = [row.values[second[0]] or "" for row in rows] if second else None
    return Examples([str(row.values[first]) for row in rows], labels, seconds)


def sample(n: int, wanted: int | None, what: str, name: str) -> list[int]:
    """Positions of `wanted` of n rows, drawn by SPLIT_SEED, in their order; all where none are
    asked for.

    Raises:
        UserError: if there are fewer.
    """
    if wanted is None:
        return list(range(n))
    if wanted > n:
        raise UserError(f"{name} has {n} rows, but {what} is {wanted}: lower it")
    return sorted(np.random.default_rng(SPLIT_SEED).permutation(n)[:wanted].tolist())


def split_file(
    rows: LabelledRows, data: dict[str, Any], test_examples: int
) -> tuple[LabelledRows, LabelledRows]:
    """Training and test rows of one file, such that no group, or else no text (first or second),
    stands in both.

    Raises:
        UserError: if there are too few.
    """
    columns = as_list(data.get("group", data["text"]))
    train, test = _parted(rows, columns, test_examples)
    if not train.rows or len(test.rows) < test_examples:
        raise UserError(
            f"{rows.name} has {len(rows.rows)} rows, too few to train on and {test_examples} test_examples that share no "
            f"{' or '.join(columns)}: lower test_examples, or name another `data.group`"
        )
    return train, test


def hold_out(
    rows: LabelledRows, data: dict[str, Any], share: float
) -> tuple[LabelledRows, LabelledRows]:
    """Training rows to train on, and a share of them held out, such that no group, or else no text,
    stands in both.

    Raises:
        UserError: if fewer than two would be held out (one has no correlation), or too few rows are
            left.
    """
    columns = as_list(data.get("group", data["text"]))
    n = round(share * len(rows.rows))
    train, held_out = _parted(rows, columns, n)
    if n < 2 or not train.rows or len(held_out.rows) < n:
        raise UserError(
            f"{rows.name} has {len(rows.rows)} training rows, too few to hold out {share:g} of them ({n}) that share no "
            f"{' or '.join(columns)} with the others: change `finetune.held_out`, or name another `data.group`"
        )
    return train, held_out


def _parted(rows: LabelledRows, columns: list[str], n: int) -> tuple[LabelledRows, LabelledRows]:
    """Rows in two parts that share no value of the columns, n in the second.

    Groups drawn by SPLIT_SEED, the last cut.
    """
    groups: dict[int, list[int]] = {}
    for i, group in enumerate(connected(rows.rows, columns)):
        groups.setdefault(group, []).append(i)
    parts: tuple[list[int], list[int]] = ([], [])
    keys = list(groups)
    for i in np.random.default_rng(SPLIT_SEED).permutation(len(keys)):
        parts[len(parts[1]) < n].extend(groups[keys[i]])
    return rows.at(sorted(parts[0])), rows.at(sorted(parts[1][:n]))


def connected(rows: list[Row], columns: list[str]) -> list[int]:
    """The group of each row, (n).

    Rows are of one group that share a value of any of the columns, or do so by other rows.
    """
    values: dict[str, int] = {}
    edges = [
        (i, values.setdefault(v, len(values)))
        for i, row in enumerate(rows)
        for c in columns
        if (v := row.values[c])
    ]
    ends = np.array(edges).reshape(-1, 2).T + [[0], [len(rows)]]
    nodes = len(rows) + len(values)
    graph = coo_matrix((np.ones(len(edges)), ends), shape=(nodes, nodes))
    return connected_components(graph, directed=False)[1][: len(rows)].tolist()


def split_by_group(
    rows: list[dict[str, str]], config: dict[str, Any]
) -> tuple[LabelledRows, LabelledRows]:
    """Train and test rows of one file such that no group (a film, say) and no text stands in both.

    Both are balanced: as many examples of each label, so that 1 / number of labels is chance.

    Raises:
        UserError: if there are too few examples for the asked numbers.
    """
    data = config["data"]
    places = spellings_of(data["labels"])
    unique: dict[tuple[str, ...], dict[str, str]] = {}
    for row in rows:
        if row[data["label"]] in places:
            unique.setdefault(tuple(row[c] for c in as_list(data["text"])), row)
    groups: dict[str, list[dict[str, str]]] = {}
    for row in unique.values():
        groups.setdefault(row[data["group"]], []).append(row)
    generator = np.random.default_rng(SPLIT_SEED)
    parts: tuple[list[dict[str, str]], list[dict[str, str]]] = ([], [])
    wanted = (config["train_examples"], config["test_examples"])
    for group in generator.permutation(sorted(groups)):
        test_is_full = _balanced(parts[1], data["label"], places, wanted[1]) is not None
        parts[0 if test_is_full else 1].extend(groups[group])
    found = []
    for part, n, name in zip(parts, wanted, ("train_examples", "test_examples")):
        # Groups come one after another: shuffle, so that a smaller number of examples is still a
        # fair sample.
        mixed = [part[i] for i in generator.permutation(len(part))]
        chosen = _balanced(mixed, data["label"], places, n)
        if chosen is None:
            raise UserError(
                f"{data['path']} has too few examples of a label for {name}: {n}: lower it"
            )
        labels: list[Label] = [places[row[data["label"]]] for row in chosen]
        found.append(LabelledRows(data["path"], [Row(0, dict(row)) for row in chosen], labels))
    return found[0], found[1]


def _balanced(
    rows: list[dict[str, str]], column: str, places: dict[str, int], n: int
) -> list[dict[str, str]] | None:
    """The first n rows with equal shares of the labels, in their order.

    None if a label has too few.
    """
    labels = set(places.values())
    left = dict.fromkeys(labels, n // len(labels))
    chosen = []
    for row in rows:
        place = places[row[column]]
        if left[place]:
            left[place] -= 1
            chosen.append(row)
    return None if any(left.values()) else chosen


def read_one_file(
    config: dict[str, Any], wheels: dict[str, Path]
) -> tuple[LabelledRows, LabelledRows]:
    """Train and test rows of the single file of `data.path`, by `split_by_group`."""
    data = config["data"]
    return split_by_group(read_rows(data, wheels, columns_of(data)), config)
