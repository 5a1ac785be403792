"""Without network: the tests write the hub client's cache in its own layout.

No request leaves the machine.
"""

import json

import datasets
import huggingface_hub
import pytest

from embpress.data.hub import export_split
from embpress.errors import UserError
from embpress.study.task_data import HubDataset

REVISION = "0123456789abcdef0123456789abcdef01234567"
HUB = {"dataset": "owner/glue", "name": "cola", "revision": REVISION}
METADATA_FILE = """---
configs:
- config_name: cola
  data_files:
  - split: train
    path: cola/train-*
  - split: test
    path: cola/test-*
- config_name: other
  data_files: other/*
---
"""
LABELS = datasets.ClassLabel(names=["unacceptable", "acceptable"])
FEATURES = datasets.Features(
    {"sentence": datasets.Value("string"), "label": LABELS, "score": datasets.Value("float64")}
)


@pytest.fixture
def cache(tmp_path, monkeypatch):
    """A cache with one revision of owner/glue."""
    snapshot = tmp_path / "datasets--owner--glue" / "snapshots" / REVISION
    (snapshot / "cola").mkdir(parents=True)
    (snapshot / "README.md").write_text(METADATA_FILE)
    (snapshot / "glue.py").write_text("raise SystemExit('code of a data set was run')")
    for split, labels in (("train", [1, 0, 1]), ("test", [-1, -1])):
        rows = {
            "sentence": [f'{split} "{i}" 猫\u2028' for i in range(len(labels))],
            "label": labels,
            "score": [3.8] * len(labels),
        }
        table = datasets.Dataset.from_dict(rows, features=FEATURES)
        table.to_parquet(snapshot / "cola" / f"{split}-00000-of-00001.parquet")
    monkeypatch.setattr(huggingface_hub.constants, "HF_HUB_CACHE", str(tmp_path))
    monkeypatch.setattr(huggingface_hub.constants, "HF_HUB_OFFLINE", True)
    return snapshot


def rows_of(path):
    return [json.loads(line) for line in path.read_text(encoding="utf-8").split("\n") if line]


def test_a_split_comes_with_the_names_of_its_labels(cache, tmp_path):
    assert export_split(HubDataset(**HUB), "train", tmp_path / "out" / "train.jsonl") == 3
    rows = rows_of(tmp_path / "out" / "train.jsonl")
    assert [row["label"] for row in rows] == ["acceptable", "unacceptable", "acceptable"]
    assert rows[0] == {"sentence": 'train "0" 猫\u2028', "label": "acceptable", "score": 3.8}


def test_an_unlabelled_split_keeps_its_mark(cache, tmp_path):
    export_split(HubDataset(**HUB), "test", tmp_path / "test.jsonl")
    assert [row["label"] for row in rows_of(tmp_path / "test.jsonl")] == ["-1", "-1"]


@pytest.mark.parametrize(
    ("change", "split", "message"),
    [
        (
            {"revision": "f" * 40},
            "train",
            "owner/glue at revision ffff.* cannot be downloaded and is not in the hub client's",
        ),
        ({"dataset": "owner/other"}, "train", "owner/other at revision"),
        ({"name": "colla"}, "train", "owner/glue has no configuration 'colla'; it has cola, other"),
        (
            {},
            "validation",
            "owner/glue cola at 01234567: split 'validation' cannot be read .*validation",
        ),
    ],
)
def test_what_is_not_there_is_named(cache, tmp_path, change, split, message):
    with pytest.raises(UserError, match=message) as caught:
        export_split(HubDataset(**HUB | change), split, tmp_path / "out.jsonl")
    assert "\n" not in str(caught.value) and not (tmp_path / "out.jsonl").exists()


def test_a_data_set_without_card_is_read_by_its_files(cache, tmp_path):
    (cache / "README.md").unlink()
    (cache / "cola").rename(cache / "data")
    hub = HubDataset(dataset="owner/glue", revision=REVISION)
    assert export_split(hub, "train", tmp_path / "t.jsonl") == 3


def test_nothing_is_left_in_the_cache_of_datasets(cache, tmp_path, monkeypatch):
    monkeypatch.setattr(datasets.config, "HF_DATASETS_CACHE", tmp_path / "arrow")
    export_split(HubDataset(**HUB), "train", tmp_path / "train.jsonl")
    assert not (tmp_path / "arrow").exists()
