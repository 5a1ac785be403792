"""Every declared benchmark, read from a few lines in the very format in which it is published."""

import copy
import json
from pathlib import Path

import pytest
import yaml

from embpress.errors import UserError
from embpress.pipeline.aggregation import labels
from embpress.study.benchmarks import resolve_benchmarks
from embpress.study.task_data import HubDataset
from embpress.study.task_entry import SPLITS
from embpress.tasks import TaskInputs, task_class

from ..studies import load
from ..task_entries import files_of, make_task

ROOT = Path(__file__).parents[2]
DECLARED = yaml.safe_load((ROOT / "workflow/resources/benchmarks.yaml").read_text())
ENTRY = {
    "protocol": "finetune_then_compress",
    "model": "minilm",
    "corpus": "wikipedia",
    "finetune": {"epochs": 1, "batch_size": 8, "learning_rate": 1e-4},
}


def tsv(*rows):
    return "".join("\t".join(row) + "\n" for row in rows)


def jsonl(*rows):
    return "".join(json.dumps(row, ensure_ascii=False) + "\n" for row in rows)


def pair(label, key="label", **more):
    return {
        "sentence_pair_id": "0",
        "sentence1": "犬がいる。",
        "sentence2": "猫がいる。",
        key: label,
    } | more


def question(label):
    return (
        {"q_id": 1, "question": "何？"}
        | {f"choice{i}": str(i) * 2 for i in range(5)}
        | {"label": label}
    )


MNLI_HEADER = [
    "index",
    "promptID",
    "pairID",
    "genre",
    "sentence1_binary_parse",
    "sentence2_binary_parse",
]
MNLI_HEADER += ["sentence1_parse", "sentence2_parse", "sentence1", "sentence2"]
MRPC_HEADER = ["Quality", "#1 ID", "#2 ID", "#1 String", "#2 String"]
STSB_HEADER = [
    "index",
    "genre",
    "filename",
    "year",
    "old_index",
    "source1",
    "source2",
    "sentence1",
    "sentence2",
    "score",
]


def mnli(labels, *rows):
    """Lines with as many annotators' labels as the split has, before the gold one."""
    header = [*MNLI_HEADER, *(f"label{i + 1}" for i in range(labels)), "gold_label"]
    return tsv(
        header,
        *(
            [*"01234567", f"premise {i}", f"hypothesis {i}", *["neutral"] * labels, g]
            for i, g in enumerate(rows)
        ),
    )


def nli(first, second, *labels):
    return tsv(
        ("index", first, second, "label"),
        *((str(i), f"one {i}", f'two "{i}', label) for i, label in enumerate(labels)),
    )


def squad(version, title, context, answers, **more):
    """A file with one question."""
    found = [{"answer_start": context.index(text), "text": text} for text in answers]
    paragraph = {
        "context": context,
        "qas": [{"answers": found, "question": "Q0", "id": "a1p0q0"} | more],
    }
    return json.dumps(
        {"data": [{"title": title, "paragraphs": [paragraph]}]}
        | ({"version": version} if version else {})
    )


HANS_HEADER = [
    "gold_label",
    "sentence1_binary_parse",
    "sentence2_binary_parse",
    "sentence1_parse",
    "sentence2_parse",
]
HANS_HEADER += ["sentence1", "sentence2", "pairID", "heuristic", "subcase", "template"]
HANS_ROW = ["non-entailment", *"1234", "c", "d", "ex1", "subsequence", "s", "t"]
# train and test as published, then what is to be read: first text, second text, label of the first
# row; labels of the test
FILES = {
    "cola": (
        tsv(("gj04", "1", "", 'He said "no".'), ("gj04", "0", "*", "Him said")),
        tsv(("gj04", "0", "*", "Bad are"), ("gj04", "1", "", "Good.")),
        ('He said "no".', None, 1),
        [0, 1],
    ),
    "sst2": (
        tsv(("sentence", "label"), ("hide new secretions ", "0"), ("fun", "1")),
        tsv(("sentence", "label"), ("ok", "1")),
        ("hide new secretions ", None, 0),
        [1],
    ),
    "mrpc": (
        "\ufeff"
        + tsv(MRPC_HEADER, ("1", "7", "8", 'Say "a', "b"), ("0", "7", "8", "c", "d")).replace(
            "\n", "\r\n"
        ),
        "\ufeff" + tsv(MRPC_HEADER, ("1", "7", "8", "e", "f")).replace("\n", "\r\n"),
        ('Say "a', "b", 1),
        [1],
    ),
    "stsb": (
        tsv(
            ("main", "MSRvid", "2012", "1", "3.800", 'A "plane', "B"),
            ("main", "MSRvid", "2012", "2", "0", "C", "D", "http://x", "l"),
        ),
        tsv(STSB_HEADER, ("0", "main", "MSRvid", "2012", "1", "none", "none", "E", "F", "5.000")),
        ('A "plane', "B", 3.8),
        [5.0],
    ),
    "qqp": (
        tsv(
            ("id", "qid1", "qid2", "question1", "question2", "is_duplicate"),
            ("1", "2", "3", "How?", "Why?", "0"),
            ("4", "5", "6", "broken off"),
            ("4", "5", "6", "A?", "B?", "1"),
        ),
        tsv(
            ("id", "qid1", "qid2", "question1", "question2", "is_duplicate"),
            ("1", "2", "3", "C?", "", "0"),
        ),
        ("How?", "Why?", 0),
        [0],
    ),
    "mnli": (
        mnli(1, "neutral", "entailment", "contradiction"),
        mnli(5, "contradiction", "entailment"),
        ("premise 0", "hypothesis 0", 1),
        [2, 0],
    ),
    "mnli_mismatched": (
        mnli(1, "contradiction", "entailment", "neutral"),
        mnli(5, "neutral"),
        ("premise 0", "hypothesis 0", 2),
        [1],
    ),
    "qnli": (
        nli("question", "sentence", "not_entailment", "entailment"),
        nli("question", "sentence", "entailment"),
        ("one 0", 'two "0', 1),
        [0],
    ),
    "rte": (
        nli("sentence1", "sentence2", "entailment", "not_entailment"),
        nli("sentence1", "sentence2", "not_entailment"),
        ("one 0", 'two "0', 0),
        [1],
    ),
    "wnli": (
        nli("sentence1", "sentence2", "1", "0"),
        nli("sentence1", "sentence2", "0"),
        ("one 0", 'two "0', 1),
        [0],
    ),
    "marc_ja": (
        jsonl(
            {"sentence": "最高", "label": "positive", "review_id": "R1"},
            {"sentence": "駄目", "label": "negative", "review_id": "R"},
        ),
        jsonl({"sentence": "良い", "label": "positive", "review_id": "R2"}),
        ("最高", None, 1),
        [1],
    ),
    "jcola": (
        jsonl(
            {
                "uid": 1,
                "source": "K",
                "label": 0,
                "diacritic": "*",
                "sentence": "ここは寒すぎている。",
                "original": "x",
            },
            {
                "uid": 2,
                "source": "K",
                "label": 1,
                "diacritic": "g",
                "sentence": "僕は東京だ。",
                "original": "x",
            },
        ),
        jsonl(
            {
                "uid": 3,
                "source": "K",
                "label": 1,
                "diacritic": "g",
                "sentence": "犬が動物です。",
                "original": "x",
            }
        ),
        ("ここは寒すぎている。", None, 0),
        [1],
    ),
    "jsts": (
        jsonl(pair(0.0), pair(3.8)),
        jsonl(pair(4.4)),
        ("犬がいる。", "猫がいる。", 0.0),
        [4.4],
    ),
    "jnli": (
        jsonl(pair("neutral"), pair("entailment"), pair("contradiction")),
        jsonl(pair("contradiction")),
        ("犬がいる。", "猫がいる。", 2),
        [1],
    ),
    "jcommonsenseqa": (jsonl(question(2), question(0)), jsonl(question(4)), ("何？", "00", 2), [4]),
    "squad": (
        squad("1.1", "Super_Bowl_50", "The Denver Broncos won.", ["Denver Broncos"]),
        squad("1.1", "Warsaw", "Warsaw is the capital.", ["Warsaw", "the capital"]),
        ("The Denver Broncos won.", "Q0", (("Denver Broncos",), (4,))),
        [(("Warsaw", "the capital"), (0, 10))],
    ),
    "jsquad": (
        squad(
            None,
            "梅雨",
            "梅雨 [SEP] 梅雨（つゆ）は雨季の一種である。",
            ["雨季"],
            is_impossible=False,
        ),
        squad(
            None,
            "梅雨",
            "梅雨 [SEP] 梅雨（つゆ）は雨季の一種である。",
            ["つゆ"],
            is_impossible=False,
        ),
        ("梅雨 [SEP] 梅雨（つゆ）は雨季の一種である。", "Q0", (("雨季",), (16,))),
        [(("つゆ",), (12,))],
    ),
    "cola_out_of_domain": (
        tsv(("gj04", "1", "", "Fine."), ("gj04", "0", "*", "Him said")),
        tsv(("clc95", "0", "*", "Bad are")),
        ("Fine.", None, 1),
        [0],
    ),
    "paws": (
        tsv(
            ("id", "sentence1", "sentence2", "label"),
            ("1", "In Paris , in October 1560 .", 'He met "them"', "0"),
            ("2", "a", "b", "1"),
        ),
        tsv(("id", "sentence1", "sentence2", "label"), ("1", "a b", "b a", "1")),
        ("In Paris , in October 1560 .", 'He met "them"', 0),
        [1],
    ),
    "imdb": (
        'text,label\n"Good, ""very"" good.<br />",pos\nbad,neg\n',
        "text,label\nbad,neg\n",
        ('Good, "very" good.<br />', None, 1),
        [0],
    ),
    "hans": (
        tsv(
            HANS_HEADER,
            ("entailment", *"1234", "The a saw b .", "b saw .", "ex0", "lexical_overlap", "l", "t"),
            HANS_ROW,
        ),
        tsv(HANS_HEADER, HANS_ROW),
        ("The a saw b .", "b saw .", 0),
        [1],
    ),
}


@pytest.fixture
def published(tmp_path):
    """A function that writes a benchmark's files into a folder as published.

    And returns the task over them.
    """

    def task(name, train=None, test=None, **own):
        data = {"folder": str(tmp_path)} | own.pop("data", {})
        entry = resolve_benchmarks(
            {name: ENTRY | {"benchmark": name, "data": data} | own}, DECLARED
        )[name]
        for split, text in zip(
            ("train", "test"), (train or FILES[name][0], test or FILES[name][1])
        ):
            (tmp_path / entry["data"][split].rsplit("/")[-1]).write_text(
                text, encoding="utf-8", newline=""
            )
        return make_task(entry["kind"], entry, TaskInputs({}, files=files_of(entry)))

    return task


def test_all_declared_benchmarks_are_tested():
    assert FILES.keys() == DECLARED.keys()


@pytest.mark.parametrize("name", FILES)
def test_a_benchmark_is_read_as_published(name, published):
    _, _, (text, second, label), test_labels = FILES[name]
    task = published(name)
    train = task.train
    assert (train.texts[0], train.seconds and train.seconds[0], train.labels[0]) == (
        text,
        second,
        label,
    )
    assert task.test.labels == test_labels
    assert len(train.texts) == train.choices * len(train.labels)
    assert train.choices == (5 if name == "jcommonsenseqa" else 1)


@pytest.mark.parametrize(
    "name",
    [
        n
        for n, declared in DECLARED.items()
        if declared["kind"] != "regression" and "hub" in declared
    ],
)
def test_labels_are_read_by_the_hubs_names_too(name, tmp_path):
    """Rows as `export_split` writes them.

    Label names in the hub's order, which is that of the declared labels.
    """
    entry = resolve_benchmarks({name: ENTRY | {"benchmark": name}}, DECLARED)[name]
    data = entry["data"]
    files = {}
    columns = data["text"] if isinstance(data["text"], list) else [data["text"]]
    for split in SPLITS:
        files[split] = tmp_path / f"{split}.jsonl"
        files[split].write_text(
            jsonl(
                *(
                    dict.fromkeys(columns, "x") | {"label": label, "idx": 0}
                    for label in data["labels"]
                )
            )
        )
    task = make_task(entry["kind"], entry, TaskInputs({}, files=files))
    (source,) = set(task.entry.sources(("test",)).values())
    assert isinstance(source, HubDataset) and source.revision == data["hub"]["revision"]
    assert task.test.labels == list(range(len(data["labels"]))) == task.train.labels


@pytest.mark.parametrize("name", FILES)
def test_a_declaration_makes_a_whole_entry(name, default_config, published):
    """From the hub or by URL, and from a folder; some from a folder alone."""
    folder = published(name).entry.model_dump(mode="json", exclude_unset=True)
    entries = [folder]
    if {"hub", "urls"} & DECLARED[name].keys():
        entries += resolve_benchmarks({name: ENTRY | {"benchmark": name}}, DECLARED).values()
    for entry in entries:
        config = copy.deepcopy(default_config)
        config["tasks"][name] = entry
        typed = load(config).tasks[name]
        assert set(typed.reported_metrics) <= {m.name for m in task_class(typed.kind).metrics}
        assert resolve_benchmarks(config["tasks"], DECLARED) == config["tasks"]


def test_tables_show_the_official_metrics_first(default_config):
    own = ENTRY | {"benchmark": "mnli_mismatched", "checkpoint": "mnli"}
    named = {name: ENTRY | {"benchmark": name} for name in ("mrpc", "stsb", "cola", "mnli")} | {
        "mm": own
    }
    del default_config["claims"]
    default_config["tasks"] = named
    shown = labels(load(default_config))["tasks"]
    assert {name: (about["metric"], *about["metrics"]) for name, about in shown.items()} == {
        "mrpc": ("accuracy", "f1"),
        "stsb": ("pearson", "spearman"),
        "cola": ("matthews",),
        "mnli": ("accuracy",),
        "mm": ("accuracy",),
    }
    assert shown["mm"]["checkpoint"] == shown["mnli"]["checkpoint"] == "MiniLM-L6 (MNLI-m)"


@pytest.mark.parametrize(
    ("other", "trained"),
    [("paws", "mrpc"), ("imdb", "sst2"), ("hans", "rte"), ("cola_out_of_domain", "cola")],
)
def test_a_model_is_tested_on_other_data_of_the_same_labels(
    other, trained, default_config, published
):
    task = published(other, checkpoint=trained)
    entry = task.entry.model_dump(mode="json", exclude_unset=True)
    del entry["finetune"]
    default_config["tasks"] |= resolve_benchmarks(
        {trained: ENTRY | {"benchmark": trained}, other: entry}, DECLARED
    )
    assert load(default_config).checkpoint_of(other) == trained
    wrong = "rte" if trained != "rte" else "mrpc"
    default_config["tasks"] |= resolve_benchmarks({wrong: ENTRY | {"benchmark": wrong}}, DECLARED)
    default_config["tasks"][other]["checkpoint"] = wrong
    with pytest.raises(UserError, match=f"tasks.{other}.checkpoint: {wrong} has another `labels`"):
        load(default_config)


def test_own_keys_replace_declared_ones():
    own = ENTRY | {
        "benchmark": "mrpc",
        "max_length": 32,
        "data": {"folder": "d", "test": "test.tsv"},
    }
    entry = resolve_benchmarks({"x": own}, DECLARED)["x"]
    assert (entry["max_length"], entry["data"]["test"], entry["data"]["train"]) == (
        32,
        "d/test.tsv",
        "d/train.tsv",
    )
    assert DECLARED["mrpc"]["max_length"] == 128 and "hub" in DECLARED["mrpc"]


@pytest.mark.parametrize(
    ("name", "files"),
    [
        ("jsts", {"train": "train-v1.3.json", "test": "valid-v1.3.json"}),
        ("jnli", {"train": "train-v1.1.json", "test": "valid-v1.1.json"}),
        ("jcommonsenseqa", {"train": "train-v1.3.json", "test": "valid-v1.3.json"}),
        ("jsquad", {"train": "train-v1.3.json", "test": "valid-v1.3.json"}),
        ("squad", {"train": "train-v1.1.json", "test": "dev-v1.1.json"}),
        ("cola", {"train": "train.tsv", "test": "dev.tsv"}),
        ("mrpc", {"train": "msr_paraphrase_train.txt", "test": "msr_paraphrase_test.txt"}),
    ],
)
def test_files_are_found_by_the_names_of_their_distribution(name, files, tmp_path):
    for file in (*files.values(), "train-v1.0.json"):
        (tmp_path / file).touch()
    entry = ENTRY | {"benchmark": name, "data": {"folder": str(tmp_path)}}
    data = resolve_benchmarks({"x": entry}, DECLARED)["x"]["data"]
    assert {split: data[split] for split in files} == {
        split: f"{tmp_path}/{file}" for split, file in files.items()
    }


def test_names_of_ours_come_first_and_a_missing_file_is_named(tmp_path):
    entry = ENTRY | {"benchmark": "jsts", "data": {"folder": str(tmp_path)}}
    for file in ("train-v1.3.json", "train.jsonl"):
        (tmp_path / file).touch()
    data = resolve_benchmarks({"x": entry}, DECLARED)["x"]["data"]
    assert data["train"] == f"{tmp_path}/train.jsonl"
    assert data["test"] == f"{tmp_path}/valid.jsonl"


def test_an_unknown_benchmark_and_one_from_nowhere_are_named():
    with pytest.raises(
        UserError, match="tasks.x: there is no benchmark 'sst-2'; did you mean 'sst2'"
    ):
        resolve_benchmarks({"x": {"benchmark": "sst-2"}}, DECLARED)
    with pytest.raises(UserError, match="tasks.x: marc_ja has no pinned source: .*`data.folder`"):
        resolve_benchmarks({"x": {"benchmark": "marc_ja"}}, DECLARED)


@pytest.mark.parametrize(
    ("name", "test", "message"),
    [
        (
            "cola",
            "index\tsentence\n0\tx\n",
            r"dev.tsv, line 1: no column 'label'; there are .*no labels",
        ),
        (
            "rte",
            nli("sentence1", "sentence2", "entailment", "-1"),
            "dev.tsv, line 3, column 'label': no label: the split is",
        ),
        (
            "rte",
            nli("sentence1", "sentence2", "Entailment"),
            "dev.tsv, line 2, column 'label': .*'Entailment' is none of 'entailment', 'not_ent",
        ),
        ("sst2", "sentence\tlabel\n", "dev.tsv has no rows: the test split is empty"),
        (
            "sst2",
            "sentence\tlable\nx\t1\n",
            "dev.tsv, line 1: no column 'label'; .*did you mean 'lable'",
        ),
        ("sst2", "sentence\tlabel\n\t1\n", "dev.tsv, line 2: no text in column 'sentence'"),
        (
            "stsb",
            "g\tf\ty\ti\tfour\ta\tb\n",
            "dev.tsv, line 1, column 'score': the label 'four' is not a number",
        ),
        (
            "stsb",
            "g\tf\ty\ti\tnan\ta\tb\n",
            "dev.tsv, line 1, column 'score': the label 'nan' is not a finite number",
        ),
        (
            "jsts",
            jsonl(pair(1.0), {"sentence1": "a", "sentence2": "b"}),
            "valid.jsonl, line 2, column 'label': no label",
        ),
        (
            "jcommonsenseqa",
            jsonl(question(5)),
            "line 1, column 'label': the label '5' is none of '0', '1', '2', '3', '4'",
        ),
    ],
)
def test_what_is_wrong_in_a_split_is_told_with_file_and_line(name, test, message, published):
    with pytest.raises(UserError, match=message):
        published(name, test=test).test  # noqa: B018


def test_a_label_without_training_rows_does_not_match(published):
    with pytest.raises(
        UserError, match="train.jsonl: no row has the label 'contradiction' of `data.labels`"
    ):
        published("jnli", train=jsonl(pair("neutral"), pair("entailment"))).train  # noqa: B018
