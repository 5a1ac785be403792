"""Words tagged with entities: conlleval's rules, words and tokens, files, and the loss."""

import json

import numpy as np
import pytest
import torch
from transformers import BertConfig, BertForTokenClassification, BertJapaneseTokenizer
from transformers.modeling_outputs import TokenClassifierOutput

from embpress.errors import UserError
from embpress.tasks import TaskInputs, parse_entry
from embpress.tasks._bootstrap import score_of
from embpress.tasks.token_classification import (
    IGNORED,
    TokenClassification,
    encode_words,
    entities,
)

from ..conftest import PIECES
from ..task_entries import complete, make_task

TAGS = ["O", "B-PER", "I-PER", "B-LOC", "I-LOC"]
DATA = {"format": "jsonl", "text": "tokens", "label": "tags", "labels": TAGS}
CONLL = DATA | {"format": "conll", "columns": ["tokens", "pos", "tags"]}


@pytest.fixture
def task(tmp_path):
    """A function that writes a file and makes the task that is tested on it."""

    def make(content, data=DATA, **entry):
        path = tmp_path / "test.txt"
        path.write_text(content, encoding="utf-8")
        entry |= {"checkpoint": "x", "data": data | {"test": str(path)}}
        return make_task("token_classification", entry, TaskInputs({}))

    return make


def jsonl(*texts):
    """A row for each list of words and list of tags."""
    return "".join(json.dumps({"tokens": words, "tags": tags}) + "\n" for words, tags in texts)


@pytest.mark.parametrize(
    ("tags", "wanted"),
    [
        # The example of seqeval's README, in IOB2.
        ("O O O B-MISC I-MISC I-MISC O", {("MISC", 3, 6)}),
        ("B-PER I-PER O", {("PER", 0, 2)}),
        # Two entities of one type that touch.
        ("B-PER B-PER I-PER", {("PER", 0, 1), ("PER", 1, 3)}),
        # Default mode takes an I without a B before it for a beginning, at a change of type too.
        ("I-PER I-PER O I-LOC", {("PER", 0, 2), ("LOC", 3, 4)}),
        ("B-PER I-LOC I-LOC", {("PER", 0, 1), ("LOC", 1, 3)}),
        ("B-PER I-LOC B-LOC", {("PER", 0, 1), ("LOC", 1, 2), ("LOC", 2, 3)}),
        ("I-LOC B-LOC I-LOC I-PER", {("LOC", 0, 1), ("LOC", 1, 3), ("PER", 3, 4)}),
        # An entity ends with its text.
        ("O B-LOC", {("LOC", 1, 2)}),
        ("B-event-date I-event-date", {("event-date", 0, 2)}),
        ("O O", set()),
        ("", set()),
    ],
)
def test_entities_are_those_of_conlleval(tags, wanted):
    assert entities(tags.split()) == wanted


def outcomes_of(task, *predicted):
    """Outcomes of a task whose model predicts these tags."""
    task._predict = lambda *_: [[TAGS.index(tag) for tag in tags.split()] for tags in predicted]
    return task.outcomes(None, None, print)


def test_f1_is_that_of_whole_entities_over_all_texts(task):
    """By hand: 4 true entities, 3 predicted, of which 2 are right in type and both ends."""
    words = [["a"] * 4, ["b"] * 3]
    gold = [["B-PER", "I-PER", "O", "B-LOC"], ["B-LOC", "B-LOC", "O"]]
    made = task(jsonl(*zip(words, gold)))
    outcomes = outcomes_of(made, "B-PER I-PER O B-PER", "B-LOC O O")
    assert {name: list(counts) for name, counts in outcomes.items()} == {
        "correct": [1, 1], "predicted": [2, 1], "gold": [2, 2]
    }  # fmt: skip
    scores = {
        name: score_of(TokenClassification, outcomes, name) for name in ("precision", "recall")
    }
    assert scores == {"precision": pytest.approx(2 / 3), "recall": pytest.approx(2 / 4)}
    assert score_of(TokenClassification, outcomes, "f1") == pytest.approx(4 / 7)
    samples = TokenClassification.scores(outcomes, {"text": np.array([[0, 0], [1, 1]])})
    assert samples["f1"].tolist() == pytest.approx([1 / 2, 2 / 3])


def test_an_entity_with_a_wrong_end_or_type_is_wrong(task):
    made = task(jsonl((["a", "b", "c"], ["B-PER", "I-PER", "O"])))
    for tags, f1 in (("B-PER O O", 0), ("B-LOC I-LOC O", 0), ("I-PER I-PER O", 1), ("O O O", 0)):
        assert score_of(TokenClassification, outcomes_of(made, tags), "f1") == f1


def test_a_words_tag_is_at_its_first_token(task, wordpiece):
    inputs, first = encode_words(["cats", "the", "dogs", "."], wordpiece, 16)
    tokens = wordpiece.convert_ids_to_tokens(inputs["input_ids"])
    assert tokens == ["[CLS]", "cat", "##s", "the", "dog", "##s", ".", "[SEP]"]
    assert first == {0: 1, 1: 3, 2: 4, 3: 6}
    inputs, first = encode_words(["cats", "the", "dogs", "."], wordpiece, 6)
    assert first == {0: 1, 1: 3, 2: 4} and len(inputs["input_ids"]) == 6
    made = task(jsonl((["cats", "the"], ["B-PER", "O"])))
    made.train = made.test
    (row,) = made.training_rows(wordpiece)
    assert row["labels"] == [IGNORED, 1, IGNORED, 0, IGNORED]
    assert len(row["labels"]) == len(row["input_ids"])


def test_a_tokenizer_in_python_finds_the_same_tokens(wordpiece, tmp_path):
    (tmp_path / "vocab.txt").write_text("\n".join(PIECES))
    options = {"do_word_tokenize": False, "subword_tokenizer_type": "wordpiece"}
    slow = BertJapaneseTokenizer(str(tmp_path / "vocab.txt"), **options)
    for words in (["cats", "the", "dogs", "."], ["abc", "cab"], ["the"] * 20):
        inputs, first = encode_words(words, slow, 9)
        wanted = encode_words(words, wordpiece, 9)
        assert (inputs["input_ids"], first) == (wanted[0]["input_ids"], wanted[1])


class Echo(torch.nn.Module):
    """Predicts B-PER for `cat`, and O elsewhere."""

    device = torch.device("cpu")

    def forward(self, input_ids, **_):
        """Logits (B, T, C)."""
        logits = torch.nn.functional.one_hot((input_ids == PIECES.index("cat")).long(), len(TAGS))
        return TokenClassifierOutput(logits=logits.float())


def test_words_beyond_the_longest_text_are_outside_of_entities(task, wordpiece):
    texts = [["cat", "the", "cat"], ["the"] * 20 + ["cat"], ["cats", "cat"]]
    gold = [["B-PER", "O", "B-PER"], ["O"] * 20 + ["B-PER"], ["B-PER", "B-PER"]]
    outcomes = task(jsonl(*zip(texts, gold))).outcomes(Echo(), wordpiece, lambda line: None)
    assert outcomes["correct"].tolist() == [2, 0, 2]
    assert outcomes["predicted"].tolist() == [2, 0, 2]
    assert outcomes["gold"].tolist() == [2, 1, 2]


def test_the_loss_is_a_mean_over_words_not_over_texts(task):
    """Every word has the same logits: however many there are, the loss is that of one."""
    made = task(jsonl((["a"], ["O"])))
    student, teacher = torch.randn(2, len(TAGS), generator=torch.Generator().manual_seed(0))
    p, q = (torch.log_softmax(logits.double(), 0) for logits in (student, teacher))
    wanted = (q.exp() * (q - p)).sum().item()
    for shape in ((1, 1), (2, 3), (4, 9)):
        labels = torch.zeros(shape, dtype=torch.long)
        outputs = []
        for logits in (student, teacher):
            each = logits.repeat(*shape, 1)
            each[0, -1] = torch.randn(len(TAGS))  # where no word begins, anything may stand
            outputs.append(TokenClassifierOutput(logits=each))
        labels[0, -1] = IGNORED if shape[1] > 1 else 0
        if shape[1] > 1:
            loss = made.logits_loss(*outputs, {"labels": labels}).item()
            assert loss == pytest.approx(wanted, rel=1e-5)


def test_conll_files_and_json_lines_are_read_alike(task):
    content = "-DOCSTART- -X- O\n\nEU NNP B-LOC\nrejects VBZ O\n\n\n"
    content += "Peter\tNNP\tB-PER\nBlackburn NNP I-PER"
    conll = task(content, CONLL).test
    rows = [(["EU", "rejects"], ["B-LOC", "O"]), (["Peter", "Blackburn"], ["B-PER", "I-PER"])]
    assert conll == task(jsonl(*rows)).test
    numbers = DATA | {"labels": {tag: str(i) for i, tag in enumerate(TAGS)}}
    as_numbers = [(words, [TAGS.index(tag) for tag in tags]) for words, tags in rows]
    assert task(jsonl(*as_numbers), numbers).test == conll
    assert conll.labels == [[3, 0], [1, 2]]


@pytest.mark.parametrize(
    ("content", "data", "message"),
    [
        (jsonl((["a", "b"], ["O"])), DATA, r"test.txt, line 1: 2 words, but 1 tags"),
        (jsonl((["a"], ["B-ORG"])), DATA, r"line 1, column 'tags': a tag is none of 'O', 'B-PER'"),
        (jsonl(("a b", ["O"])), DATA, r"line 1: column 'tokens' is not a list"),
        (jsonl(([], [])), DATA, r"line 1: column 'tokens' is not a list"),
        ("", CONLL, r"test.txt has no rows: the test split is empty"),
        ("EU NNP\n", CONLL, r"test.txt, line 1: 2 columns, but `data.columns` names 3"),
        ("a X O\n\nb X B-X\n", CONLL, r"test.txt, line 3, column 'tags': a tag is none of"),
    ],
)
def test_what_is_wrong_in_a_file_is_told_with_its_line(content, data, message, task):
    with pytest.raises(UserError, match=message) as caught:
        task(content, data).test  # noqa: B018
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("data", "message"),
    [
        ({"labels": ["O", "PER"]}, r"tasks.x.data.labels: 'PER' is not O, B-TYPE or I-TYPE"),
        ({"labels": ["O", "B-"]}, r"tasks.x.data.labels: 'B-' is not O"),
        ({"labels": ["B-X", "I-X"]}, r"tasks.x.data.labels: 'O' is missing"),
        ({"format": "conll"}, r"tasks.x.data: 'columns' is missing"),
        ({"format": "csv"}, r"tasks.x.data.format: 'csv' is not one of"),
        ({"text": ["a", "b"]}, r"tasks.x.data.text: .*at most 1"),
    ],
)
def test_wrong_entries_are_named(data, message):
    entry = {"checkpoint": "x", "data": DATA | {"test": "test.txt"} | data}
    with pytest.raises(UserError, match=message):
        parse_entry(complete("token_classification", entry), "tasks.x")


def test_a_fine_tuned_model_has_a_head_for_the_tags(task):
    made = task(jsonl((["a"], ["O"])))
    model = BertForTokenClassification(BertConfig(**made.head_options(), vocab_size=8))
    assert model.config.id2label == dict(enumerate(TAGS)) and model.config.num_labels == len(TAGS)
