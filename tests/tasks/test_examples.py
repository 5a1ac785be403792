import json
from pathlib import Path

import pytest

from embpress.data.rows import Row
from embpress.errors import UserError
from embpress.tasks import TaskInputs, parse_entry
from embpress.tasks._balanced import balanced_split
from embpress.tasks._examples import connected, to_examples
from embpress.tasks._labels import label_positions

from ..task_entries import complete, make_task

DATA = {"format": "jsonl", "text": ["a", "b"], "label": "label", "labels": ["x", "y"]}


def rows(n, labels="xy"):
    return [
        {
            "a": f"first {i // 2}",
            "b": f"second {i}",
            "label": labels[i % len(labels)],
            "film": i // 5,
        }
        for i in range(n)
    ]


@pytest.fixture
def task(tmp_path):
    """A function that writes rows and makes the task over them."""

    def make(train, test=None, data=DATA, **entry):
        files = {}
        for split, content in (("train", train), ("test", test or train)):
            files[split] = tmp_path / ("one.jsonl" if test is None else f"{split}.jsonl")
            files[split].write_text("".join(json.dumps(row) + "\n" for row in content))
        data = data | {split: str(path) for split, path in files.items()}
        entry = {
            "kind": "classification",
            "protocol": "finetune_then_compress",
            "data": data,
        } | entry
        return make_task(entry["kind"], entry, TaskInputs({}, files=files))

    return make


def test_two_files_are_read_whole_and_in_order(task):
    found = task(rows(20), rows(6))
    assert found.train.seconds == [f"second {i}" for i in range(20)] and len(found.test.texts) == 6
    assert found.train.labels == [0, 1] * 10


def test_fewer_examples_are_a_fixed_sample(task):
    sizes = dict(train_examples=8, test_examples=4)
    one, two = (task(rows(40), rows(20), **sizes) for _ in range(2))
    assert one.train == two.train and one.test == two.test
    assert (len(one.train.labels), len(one.test.labels)) == (8, 4)
    assert one.train.seconds != [f"second {i}" for i in range(8)]
    with pytest.raises(
        UserError, match="test.jsonl has 20 rows, but test_examples is 21: lower it"
    ):
        task(rows(40), rows(20), test_examples=21).test  # noqa: B018


@pytest.mark.parametrize("group", [None, "film"])
def test_one_file_is_split_without_a_shared_group(task, group):
    content = rows(60)
    found = task(content, data=DATA | ({"group": group} if group else {}), test_examples=15)
    assert len(found.test.labels) == 15
    group_of = {row["b"]: row[group or "a"] for row in content}
    train, test = ({group_of[text] for text in part.seconds} for part in (found.train, found.test))
    assert not train & test
    assert set(found.train.seconds) | set(found.test.seconds) <= group_of.keys()
    assert len(found.train.labels) >= 60 - 15 - 5


def test_no_text_of_a_pair_stands_in_both_parts_of_one_file_whichever_way_round(task):
    """As in JNLI, whose pairs come both ways round."""
    content = [{"a": f"s{i}", "b": f"s{i ^ 1}", "label": "xy"[i // 2 % 2]} for i in range(60)]
    found = task(content, test_examples=20)
    train, test = ({*part.texts, *part.seconds} for part in (found.train, found.test))
    assert not train & test and len(train | test) == 60


def test_rows_are_connected_by_either_text_and_by_other_rows():
    texts = [("a", "b"), ("c", "d"), ("e", "c"), ("b", "f"), ("g", ""), ("h", None)]
    groups = connected([Row(i, {"x": x, "y": y}) for i, (x, y) in enumerate(texts)], ["x", "y"])
    assert groups[0] == groups[3] and groups[1] == groups[2] and len(set(groups)) == 4


def test_too_small_a_file_to_split_is_named(task):
    with pytest.raises(
        UserError,
        match="one.jsonl has 6 rows, too few to train on and 6 test_examples that share no a or b",
    ):
        task(rows(6), test_examples=6).test  # noqa: B018


def test_labels_are_told_by_name_or_by_how_files_write_them(task):
    found = task(
        rows(4, ["0", "yes"]), rows(2, "01"), data=DATA | {"labels": {"no": "0", "yes": "1"}}
    )
    assert found.train.labels == [0, 1, 0, 1] and found.test.labels == [0, 1]
    assert label_positions({"a": "a", "b": "b"}) == {"a": 0, "b": 1}
    for ambiguous in ({"a": "1", "b": "1"}, {"a": "b", "b": "a"}):
        with pytest.raises(UserError, match="means two labels"):
            label_positions(ambiguous)


def test_inputs_tell_wheels_from_splits():
    named = {name: Path(name) for name in ("gensim", "train", "test", "held_out")}
    found = TaskInputs.of(named)
    assert found == TaskInputs(
        {"gensim": Path("gensim")}, Path("held_out"), {"train": Path("train"), "test": Path("test")}
    )


BALANCED = {
    "train_examples": 20,
    "test_examples": 10,
    "data": {
        "path": "x.csv",
        "text": "t",
        "label": "l",
        "labels": ["bad", "good"],
        "group": "g",
        "format": "csv",
    },
}
FILMS = [
    {"t": f"text {i}", "l": ("bad", "good", "plot")[i % 3], "g": f"film {i // 4}"}
    for i in range(80)
]


def parted(films):
    """Training and test examples of the single file."""
    return [to_examples(part, ("t",)) for part in balanced(films)]


def balanced(films, **changes):
    """Rows of both parts."""
    entry = parse_entry(complete("classification", BALANCED | changes), "tasks.x")
    return balanced_split(films, entry, label_positions(entry.data.labels))


def test_split_keeps_groups_apart_and_leaves_other_labels_out():
    group_of = {r["t"]: r["g"] for r in FILMS}
    train, test = parted(FILMS)
    assert (len(train.texts), len(test.texts)) == (20, 10)
    assert not {group_of[t] for t in train.texts} & {group_of[t] for t in test.texts}
    assert sorted(train.labels) == [0] * 10 + [1] * 10 and sum(test.labels) == 5
    assert all(int(t.split()[1]) % 3 != 2 for t in train.texts + test.texts)


def test_a_repeated_text_stands_in_one_part_only():
    rows = FILMS + [{**r, "g": "another film"} for r in FILMS]
    train, test = parted(rows)
    assert not set(train.texts) & set(test.texts)


def test_too_few_examples_name_the_numbers():
    with pytest.raises(
        UserError, match="x.csv has too few examples of a label for train_examples: 500"
    ):
        balanced(FILMS, train_examples=500)
