"""Labelled rows to training and test examples: which rows, which texts, which labels.

Imports neither numpy nor scipy before they are needed, as the files of tasks import this.
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, NamedTuple

from ..data.rows import Row, Table, read_content
from ..errors import UserError
from ..study.task_data import LabelledData
from ._base import TaskInputs

SPLIT_SEED = 0
"""Fixed, and not the study's seed: every run of a task has the same test examples."""


class Answers(NamedTuple):
    """Right answers to a question: their texts, and the character at which each begins."""

    texts: tuple[str, ...]
    starts: tuple[int, ...]


Label = int | float | Answers
ReadLabel = Callable[[str], Label]
"""Position or number of a label as a file writes it; ValueError with the reason if it is none."""


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


def read_split(
    data: LabelledData,
    split: str,
    inputs: TaskInputs,
    read_table: Callable[[str, bytes], Table],
) -> Table:
    """Rows of `train` or `test`, of which each has a text.

    Args:
        data: where the rows are.
        split: `train` or `test`.
        inputs: files of the job.
        read_table: rows of a file's content by its name.

    Raises:
        UserError: if the file is missing or wrong, a row has no text, or there are no rows; with
            file and line.
    """
    if split in inputs.files:
        path = str(inputs.files[split])
        content = read_content({}, path, {})
    else:
        path = str(getattr(data, split))
        content = read_content(data.table_options(), path, inputs.wheels)
    table = read_table(path, content)
    if not table.rows:
        raise UserError(f"{path} has no rows: the {split} split is empty")
    for row in table.rows:
        for column in data.required_columns():
            if not row.values[column]:
                raise UserError(f"{table.place(row)}: no text in column {column!r}")
    return table


def read_labels(table: Table, column: str, read: ReadLabel) -> list[Label]:
    """The label of every row.

    Raises:
        UserError: if a row has none, or one that is not among those declared; with file, line and
            column.
    """
    labels = []
    for row in table.rows:
        value = row.values[column]
        try:
            if value is None or value == "":
                raise ValueError
            labels.append(read(value))
        except ValueError as error:
            where = f"{table.place(row)}, column {column!r}"
            # The benchmarks publish test texts without labels, and the hub marks them so.
            if value in (None, "", "-1"):
                raise UserError(
                    f"{where}: no label: the split is unlabelled, name a labelled one"
                ) from error
            raise UserError(f"{where}: the label {value!r} is {error}") from error
    return labels


def to_examples(rows: LabelledRows, text: tuple[str, ...]) -> Examples:
    """Texts of one or two columns, with their labels."""
    first, *second = text
    texts = [str(row.values[first]) for row in rows.rows]
    seconds = [row.values[second[0]] or "" for row in rows.rows] if second else None
    return Examples(texts, rows.labels, seconds)


def sample(n: int, wanted: int | None, what: str, name: str) -> list[int]:
    """Positions of some of n rows, drawn by SPLIT_SEED, in ascending order.

    Args:
        n: number of rows.
        wanted: number of positions; None for all.
        what: the key that says so, for errors.
        name: the file's, for errors.

    Raises:
        UserError: if there are fewer rows.
    """
    import numpy as np

    if wanted is None:
        return list(range(n))
    if wanted > n:
        raise UserError(f"{name} has {n} rows, but {what} is {wanted}: lower it")
    return sorted(np.random.default_rng(SPLIT_SEED).permutation(n)[:wanted].tolist())


def split_file(
    rows: LabelledRows, data: LabelledData, test_examples: int
) -> tuple[LabelledRows, LabelledRows]:
    """Training and test rows of one file; no group, or else no text, is in both.

    Raises:
        UserError: if there are too few.
    """
    columns = data.group_columns()
    train, test = group_split(rows, columns, test_examples)
    if not train.rows or len(test.rows) < test_examples:
        raise UserError(
            f"{rows.name} has {len(rows.rows)} rows, too few to train on and {test_examples} "
            f"test_examples that share no {' or '.join(columns)}: lower test_examples, or name "
            "another `data.group`"
        )
    return train, test


def hold_out(
    rows: LabelledRows, data: LabelledData, share: float
) -> tuple[LabelledRows, LabelledRows]:
    """Training rows to train on, and a share of them to validate on; no group, or else no text, is
    in both.

    Raises:
        UserError: if fewer than two would be held out (one has no correlation), or too few rows are
            left.
    """
    columns = data.group_columns()
    n = round(share * len(rows.rows))
    train, held_out = group_split(rows, columns, n)
    if n < 2 or not train.rows or len(held_out.rows) < n:
        raise UserError(
            f"{rows.name} has {len(rows.rows)} training rows, too few to hold out {share:g} of "
            f"them ({n}) that share no {' or '.join(columns)} with the others: change "
            "`finetune.held_out`, or name another `data.group`"
        )
    return train, held_out


def group_split(
    rows: LabelledRows, columns: list[str], n: int
) -> tuple[LabelledRows, LabelledRows]:
    """Rows in two parts that share no value of the columns, n rows in the second.

    Groups are drawn by SPLIT_SEED; of the last one, rows beyond n are dropped.
    """
    import numpy as np

    groups: dict[int, list[int]] = {}
    for i, group in enumerate(connected(rows.rows, columns)):
        groups.setdefault(group, []).append(i)
    parts: tuple[list[int], list[int]] = ([], [])
    keys = list(groups)
    for i in np.random.default_rng(SPLIT_SEED).permutation(len(keys)):
        parts[len(parts[1]) < n].extend(groups[keys[i]])
    return rows.at(sorted(parts[0])), rows.at(sorted(parts[1][:n]))


def connected(rows: list[Row], columns: list[str]) -> list[int]:
    """The group of each row, (n): connected components of rows that share a value of a column."""
    import numpy as np
    from scipy.sparse import coo_matrix
    from scipy.sparse.csgraph import connected_components

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
