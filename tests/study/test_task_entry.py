"""Labelled tasks in a config.

Keys that need or exclude each other, and files that are not there, before any job.
"""

import copy
from pathlib import Path

import pytest
import yaml

from embpress.errors import UserError
from embpress.study.task_data import FileSource, HubDataset
from embpress.tasks import parse_entry

from ..studies import BENCHMARKS, load

ROOT = Path(__file__).parents[2]
HUB = {"dataset": "owner/data", "name": "x", "revision": "0" * 40}
PIN = {"url": "https://host/file", "sha256": "0" * 64}
FINETUNE = {"epochs": 1, "batch_size": 8, "learning_rate": 1e-4}
TUNED = {
    "label": "x",
    "protocol": "finetune_then_compress",
    "model": "minilm",
    "corpus": "wikipedia",
    "max_length": 32,
}
TUNED |= {"finetune": FINETUNE}
DROP = object()


def entries(folder):
    """A right entry of each kind."""
    for name in ("train.tsv", "test.tsv"):
        (folder / name).write_text("")
    untuned = {k: v for k, v in TUNED.items() if k != "finetune"}
    here = {"train": f"{folder}/train.tsv", "test": f"{folder}/test.tsv"}
    pair = {"text": ["a", "b"], "label": "y"}
    return {
        "pairs": TUNED
        | {
            "kind": "classification",
            "data": here | pair | {"format": "tsv", "labels": ["no", "yes"]},
        },
        "hub": TUNED
        | {
            "kind": "classification",
            "data": {"hub": HUB, "train": "t", "test": "v", "labels": {"n": "0", "y": "1"}, **pair},
        },
        "score": TUNED
        | {
            "kind": "regression",
            "data": {"train": PIN, "test": PIN | {"sha256": "1" * 64}, "format": "jsonl"} | pair,
        },
        "choice": TUNED
        | {
            "kind": "multiple_choice",
            "data": here | {"format": "csv", "text": "q", "choices": ["a", "b"], "label": "y"},
        },
        "span": TUNED
        | {
            "kind": "span",
            "unit": "words",
            "stride": 8,
            "data": here | {"format": "squad", "text": ["context", "question"], "label": "answers"},
        },
        "cosine": untuned
        | {
            "kind": "regression",
            "protocol": "zero_shot",
            "data": {"test": here["test"], "format": "tsv"} | pair,
        },
        "again": untuned
        | {
            "kind": "classification",
            "checkpoint": "pairs",
            "data": {
                "test": here["test"],
                "format": "tsv",
                "labels": {"no": "never", "yes": "ever"},
            }
            | pair,
        },
    }


def changed(entry, change):
    """A copy with some keys set, or dropped; `data` is changed key by key."""
    entry = copy.deepcopy(entry)
    for key, value in change.items():
        if key == "data":
            entry["data"] = changed(entry["data"], value)
        elif value is DROP:
            del entry[key]
        else:
            entry[key] = value
    return entry


def test_right_entries_of_every_kind_pass(default_config, tmp_path):
    default_config["tasks"] |= entries(tmp_path)
    load(default_config)
    study = load(default_config)
    assert study.checkpoint_of("again") == "pairs" == study.checkpoint_of("pairs")
    assert study.checkpoint_of("cosine") == "minilm"


@pytest.mark.parametrize(
    ("task", "change", "message"),
    [
        ("pairs", {"data": {"test": DROP}}, "tasks.pairs.data: 'test' is missing"),
        ("pairs", {"data": {"train": DROP}}, "tasks.pairs.data: 'train' is missing"),
        ("pairs", {"data": {"format": DROP}}, "tasks.pairs.data: 'format' is missing"),
        (
            "pairs",
            {"data": {"test": "no/such.tsv"}},
            "tasks.pairs.data.test: there is no file no/such.tsv",
        ),
        (
            "pairs",
            {"data": {"path": "x.csv"}},
            "tasks.pairs.data: `path` is one file for both splits: remove it or `train`",
        ),
        (
            "pairs",
            {"data": {"txt": "a"}},
            "tasks.pairs.data: unknown key 'txt'; did you mean 'text'",
        ),
        ("pairs", {"data": {"text": ["a", "b", "c"]}}, r"tasks.pairs.data.text: .*at most 2"),
        (
            "pairs",
            {"data": {"train": PIN, "package": "gensim"}},
            "tasks.pairs.data.train: a `url` excludes `hub` and",
        ),
        ("pairs", {"finetune": DROP}, "tasks.pairs: 'finetune' is missing"),
        (
            "pairs",
            {"metrics": ["acuracy"]},
            "tasks.pairs.metrics: .*'acuracy'; did you mean 'accuracy'",
        ),
        (
            "pairs",
            {"data": {"labels": list("abc")}, "metrics": ["f1"]},
            "tasks.pairs.metrics: f1 needs two labels; there are 3",
        ),
        (
            "hub",
            {"data": {"package": "gensim"}},
            "tasks.hub.data: both `hub` and `package` are given",
        ),
        (
            "hub",
            {"data": {"hub": HUB | {"revision": "main"}}},
            "tasks.hub.data.hub.revision: 'main' should match",
        ),
        (
            "hub",
            {"data": {"hub": {"dataset": "owner/data"}}},
            "tasks.hub.data.hub: 'revision' is missing",
        ),
        (
            "score",
            {"data": {"test": {"url": "https://host/file"}}},
            "tasks.score.data.test: 'sha256' is missing",
        ),
        (
            "score",
            {"data": {"test": PIN | {"url": "http://host/x"}}},
            "tasks.score.data.test.url: 'http://host/x' should match",
        ),
        (
            "score",
            {"data": {"test": PIN}},
            "tasks.score: 'test_examples' is missing: .*only file",
        ),
        ("score", {"data": {"labels": ["a", "b"]}}, "tasks.score.data: unknown key 'labels'"),
        ("choice", {"data": {"choices": ["a"]}}, "tasks.choice.data.choices: .*at least 2"),
        ("choice", {"metrics": ["f1"]}, "tasks.choice.metrics: .*'f1'; there are accuracy"),
        (
            "choice",
            {"metrics": ["kl_divergence", "accuracy"]},
            "tasks.choice.metrics: 'kl_divergence' .*first, such as 'accuracy'",
        ),
        ("span", {"stride": DROP}, "tasks.span: 'stride' is missing"),
        ("span", {"unit": "tokens"}, "tasks.span.unit: 'tokens' is not one of"),
        (
            "span",
            {"metrics": ["accuracy"]},
            "tasks.span.metrics: .*'accuracy'; there are exact_match, f1",
        ),
        (
            "span",
            {"data": {"text": "context"}},
            "tasks.span.data.text: 'context' should be a list",
        ),
        ("pairs", {"data": {"format": "squad"}}, "tasks.pairs.data.format: 'squad' is not one of"),
        (
            "cosine",
            {"data": {"text": "a"}},
            "tasks.cosine.data.text: without fine-tuning .*two columns .*name both",
        ),
        (
            "cosine",
            {"protocol": "finetune_then_compress"},
            "tasks.cosine: 'finetune' is missing",
        ),
        (
            "again",
            {"checkpoint": "pair"},
            "tasks.again.checkpoint: fine-tuned task 'pair' is not under `tasks:`; did you mean",
        ),
        (
            "again",
            {"checkpoint": "cosine"},
            "tasks.again.checkpoint: fine-tuned task 'cosine' is not under `tasks:`",
        ),
        ("again", {"model": "e5"}, "tasks.again.checkpoint: pairs has another `model`"),
        (
            "again",
            {"data": {"labels": ["yes", "no"]}},
            "tasks.again.checkpoint: pairs has another `labels`",
        ),
    ],
)
def test_wrong_entries_are_named(task, change, message, default_config, tmp_path):
    default_config["tasks"] |= entries(tmp_path)
    default_config["tasks"][task] = changed(default_config["tasks"][task], change)
    with pytest.raises(UserError, match=message) as caught:
        load(default_config)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("key", ["group", "format", "train_examples", "test_examples"])
def test_one_balanced_file_needs_its_keys(key, default_config):
    entry = default_config["tasks"]["rotten"]
    (entry if key in entry else entry["data"]).pop(key)
    with pytest.raises(
        UserError, match=f"tasks.rotten.*: '{key}' is missing, which `(data.)?path` needs"
    ):
        load(default_config)


def test_rows_that_a_checkpoint_was_trained_on_do_not_test_it(default_config, tmp_path):
    default_config["tasks"] |= entries(tmp_path)
    default_config["tasks"]["again"]["data"]["test"] = default_config["tasks"]["pairs"]["data"][
        "train"
    ]
    with pytest.raises(
        UserError, match="tasks.again.checkpoint: pairs was trained on `data.test` of this task"
    ):
        load(default_config)


def test_weights_by_sensitivity_need_a_classifier(default_config, tmp_path):
    default_config["tasks"] |= {
        name: entries(tmp_path)[name] for name in ("pairs", "score", "choice", "span")
    }
    study = load(default_config)
    heads = [study.predicts(task) for task in ("pairs", "score", "choice", "span")]
    assert heads == [True, False, False, False]


def test_sources_of_splits(tmp_path):
    tasks = {name: parse_entry(entry, name) for name, entry in entries(tmp_path).items()}
    sources = {name: task.sources(("train", "test")) for name, task in tasks.items()}
    local = {"train": f"{tmp_path}/train.tsv", "test": f"{tmp_path}/test.tsv"}
    assert sources["pairs"] == local
    assert set(map(type, sources["hub"].values())) == {HubDataset}
    assert sources["score"] == {
        "train": FileSource(**PIN),
        "test": FileSource(**PIN | {"sha256": "1" * 64}),
    }
    assert sources["cosine"] == {"test": f"{tmp_path}/test.tsv"}
    assert tasks["pairs"].local_files() == {split: Path(path) for split, path in local.items()}
    assert tasks["score"].urls == {"0" * 64: "https://host/file", "1" * 64: "https://host/file"}
    packed = changed(entries(tmp_path)["again"], {"data": {"package": "gensim"}})
    assert parse_entry(packed, "x").sources(("test",)) == {}


def test_what_the_docs_say_is_a_right_config(default_config, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    for name in ("data/jsts/valid.jsonl", "tickets/train.csv", "tickets/test.csv"):
        Path(name).parent.mkdir(parents=True, exist_ok=True)
        Path(name).touch()
    page = (ROOT / "docs/reference/config.md").read_text()
    titles = ("Tasks with labelled rows", "Protocols")
    section, of_protocols = (page.split(f"## {title}")[1].split("\n## ")[0] for title in titles)
    published, own, averages = (
        yaml.safe_load(block.split("```")[0]) for block in section.split("```yaml")[1:]
    )
    students = yaml.safe_load(of_protocols.split("```yaml")[1].split("```")[0])
    assert (len(published["tasks"]), len(own), len(students)) == (4, 1, 2)
    assert all(f"`{name}`" in section for name in BENCHMARKS)
    default_config["tasks"] |= published["tasks"] | own | students
    default_config |= averages
    load(default_config)


@pytest.mark.parametrize(
    ("kind", "own", "metrics"),
    [
        ("classification", {}, ("accuracy",)),
        ("classification", {"metrics": ["f1", "accuracy"]}, ("f1", "accuracy")),
        ("regression", {}, ("pearson", "spearman")),
    ],
)
def test_reported_metrics(kind, own, metrics, tmp_path):
    name = {"classification": "pairs", "regression": "score"}[kind]
    assert parse_entry(entries(tmp_path)[name] | own, "x").reported_metrics == metrics
