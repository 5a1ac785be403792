import pytest

from embpress.errors import UserError
from embpress.tasks.examples import split_by_group

CONFIG = {
    "train_examples": 20,
    "test_examples": 10,
    "data": {"path": "x.csv", "text": "t", "label": "l", "labels": ["bad", "good"], "group": "g"},
}
ROWS = [{"t": f"text {i}", "l": ("bad", "good", "plot")[i % 3], "g": f"film {i // 4}"} for i in range(80)]


def test_split_keeps_groups_apart_and_leaves_other_labels_out():
    group_of = {r["t"]: r["g"] for r in ROWS}
    train, test = split_by_group(ROWS, CONFIG)
    assert (len(train.texts), len(test.texts)) == (20, 10)
    assert not {group_of[t] for t in train.texts} & {group_of[t] for t in test.texts}
    assert sorted(train.labels) == [0] * 10 + [1] * 10 and sum(test.labels) == 5
    assert all(int(t.split()[1]) % 3 != 2 for t in train.texts + test.texts)


def test_a_repeated_text_stands_in_one_part_only():
    rows = ROWS + [{**r, "g": "another film"} for r in ROWS]
    train, test = split_by_group(rows, CONFIG)
    assert not set(train.texts) & set(test.texts)


def test_too_few_examples_name_the_numbers():
    with pytest.raises(UserError, match="x.csv has too few examples of a label for train_examples: 500"):
        split_by_group(ROWS, CONFIG | {"train_examples": 500})
