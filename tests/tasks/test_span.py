"""Spans of contexts: the official rules, windows over long contexts.

And what is wrong in a file.
"""

import copy
import json
from collections import Counter
from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors.torch import load_file
from transformers.data.metrics import squad_metrics as official

from embpress import storage
from embpress.errors import UserError
from embpress.methods import compress
from embpress.models.checkpoints import embedding_matrix
from embpress.models.embedding import write_metadata
from embpress.models.loading import load_model
from embpress.pipeline.evaluation import evaluate
from embpress.tasks import TaskInputs
from embpress.tasks._span_metrics import answer_scores
from embpress.tasks._windows import max_context_mask, token_span, windows_of
from embpress.tasks.span import BEST, LONGEST_ANSWER, best_span
from embpress.training.fine_tuning import finetune
from embpress.training.loop import TrainingContext

from ..task_entries import make_task

RANDOM = np.random.default_rng(0)
ENTRY = {
    "kind": "span",
    "protocol": "finetune_then_compress",
    "unit": "words",
    "max_length": 16,
    "stride": 4,
}
DATA = {"format": "squad", "text": ["context", "question"], "label": "answers", "group": "title"}
CONTEXT = "the cat, a dog. " * 6 + "abc ba cab, the cats"


def squad(*paragraphs, title="Pets"):
    """A file of one article; a paragraph is its context and its questions' answers."""
    found = []
    for i, (context, *questions) in enumerate(paragraphs):
        answers = [
            [{"text": t, "answer_start": context.find(t) if s is None else s} for t, s in q]
            for q in questions
        ]
        found.append(
            {
                "context": context,
                "qas": [
                    {"id": f"{i}-{j}", "question": "a cat", "answers": a}
                    for j, a in enumerate(answers)
                ],
            }
        )
    return {"version": "1.1", "data": [{"title": title, "paragraphs": found}]}


@pytest.fixture
def task(tmp_path):
    """A function that writes a file and makes the task over it, for both splits."""

    def make(content, data=DATA, **entry):
        path = tmp_path / "dev.json"
        path.write_text(
            content if isinstance(content, str) else json.dumps(content, ensure_ascii=False),
            encoding="utf-8",
        )
        entry = (
            ENTRY
            | {"checkpoint": "x", "data": data | {"train": str(path), "test": str(path)}}
            | entry
        )
        return make_task("span", entry, TaskInputs({}))

    return make


# What people write, and how models err.
PHRASES = [
    "The cat!",
    "cat",
    "a  cat's an",
    "",
    "the",
    "U.S. (the)",
    "10–4",
    "¥100",
    "ano the r",
    "A\u00a0B c",
    "den den Haag",
]


@pytest.mark.parametrize("predicted", PHRASES)
def test_words_are_scored_as_transformers_scores_squad(predicted):
    for gold in (tuple(PHRASES[:3]), *((p,) for p in PHRASES if official.normalize_answer(p))):
        exact, f1 = answer_scores(predicted, gold, "words")
        assert exact == max(official.compute_exact(g, predicted) for g in gold)
        assert f1 == pytest.approx(max(official.compute_f1(g, predicted) for g in gold))


def jglue_f1(gold, predicted):
    """What JGLUE's patch of transformers' squad_metrics.py computes.

    Written again from its lines.
    """
    texts = [" ".join(text.lower().rstrip("。").split()) for text in (gold, predicted)]
    if not all(texts):
        return int(texts[0] == texts[1])
    same = sum((Counter(texts[0]) & Counter(texts[1])).values())
    if same == 0:
        return 0
    precision = same / len(texts[1])
    recall = same / len(texts[0])
    return 2 * precision * recall / (precision + recall)


@pytest.mark.parametrize(
    "predicted",
    ["小笠原諸島。", "小笠原", "小 笠　原", "「梅雨」", "5月から7月", "ABC 梅雨。。", ""],
)
def test_characters_are_scored_as_jglue_does(predicted):
    gold = ("小笠原諸島", "梅雨", "abc 梅雨", "5月から7月にかけて。")
    exact, f1 = answer_scores(predicted, gold, "characters")
    assert f1 == pytest.approx(max(jglue_f1(g, predicted) for g in gold))
    assert exact == (predicted in ("小笠原諸島。", "ABC 梅雨。。"))


@pytest.mark.parametrize(
    ("predicted", "gold"), [("", "。"), ("。", "。。"), ("", "梅雨"), ("梅雨", "。")]
)
def test_two_empty_answers_agree_by_jglue_and_not_by_squad(predicted, gold):
    assert answer_scores(predicted, (gold,), "characters")[1] == jglue_f1(gold, predicted)
    assert answer_scores("the.", ("a",), "words") == (1, 0)


def test_windows_cover_the_context_and_overlap_by_the_stride(tokenizer, task):
    test = task(squad((CONTEXT, [("cab", None)]), ("the dog", [("dog", None)]))).test
    windows = windows_of(test, tokenizer, 16, 4)
    whole = tokenizer(CONTEXT, add_special_tokens=False, return_offsets_mapping=True)[
        "offset_mapping"
    ]
    of_first = [o[o[:, 0] >= 0] for o, e in zip(windows.offsets, windows.example) if e == 0]
    assert windows.example == [0] * len(of_first) + [1] and len(of_first) > 3
    joined = np.concatenate([of_first[0], *(o[4:] for o in of_first[1:])])
    assert joined.tolist() == [list(pair) for pair in whole]
    assert all(len(ids) <= 16 for ids in windows.encoded["input_ids"])


def test_training_labels_are_the_tokens_of_the_answer_where_a_window_holds_it(tokenizer, task):
    made = task(squad((CONTEXT, [("cab, the", None), ("abc", None)])))
    rows = made.training_rows(tokenizer)
    windows = windows_of(made.train, tokenizer, 16, 4)
    held = [r for r in rows if r["start_positions"]]
    assert 0 < len(held) < len(rows)
    for row, offsets in zip(rows, windows.offsets):
        first = row["start_positions"]
        last = row["end_positions"]
        if first:
            assert CONTEXT[offsets[first, 0] : offsets[last, 1]] == "cab, the"
        else:
            assert (
                last == 0
                and CONTEXT[offsets[offsets[:, 0] >= 0][0, 0] : offsets[:, 1].max()].find(
                    "cab, the"
                )
                < 0
            )


def test_an_answer_within_a_token_is_the_whole_token():
    offsets = np.array([[-1, -1], [-1, -1], [0, 4], [5, 9], [9, 12], [-1, -1]])
    assert token_span(offsets, 6, 8) == (3, 3)
    assert token_span(offsets, 2, 10) == (2, 4)
    assert token_span(offsets, 0, 13) == (0, 0)


def most_context(lengths, stride):
    """BERT's _check_is_max_context, one token at a time."""
    starts = np.cumsum([0, *(n - stride for n in lengths[:-1])])
    found = []
    for i, n in enumerate(lengths):
        for place in range(starts[i], starts[i] + n):
            scores = [
                min(place - s, s + m - 1 - place) + 0.01 * m if s <= place < s + m else -1
                for s, m in zip(starts, lengths)
            ]
            found.append(int(np.argmax(scores)) == i)
    return found


@pytest.mark.parametrize(
    ("lengths", "stride"), [([5], 2), ([8, 8, 5], 3), ([6, 6, 6, 4], 4), ([5, 3], 1)]
)
def test_each_token_belongs_to_the_window_max_context_mask(lengths, stride):
    question = np.full((2, 2), -1)
    windows = [
        np.concatenate([question, np.zeros((n, 2), dtype=int), question[:1]]) for n in lengths
    ]
    found = max_context_mask(windows, stride)
    assert [b for part, n in zip(found, lengths) for b in part[2 : 2 + n]] == most_context(
        lengths, stride
    )
    assert not any(part[:2].any() or part[-1] for part in found)


def reference_span(logits, offsets, may_begin):
    """All tokenizer of run_squad.py's candidates, in plain loops."""
    firsts, lasts = ([int(i) for i in np.argsort(-side)[:BEST]] for side in logits)
    tokenizer = [
        (float(logits[0][a] + logits[1][b]), int(offsets[a, 0]), int(offsets[b, 1]))
        for a in firsts
        for b in lasts
        if may_begin[a] and offsets[b, 0] >= 0 and a <= b < a + LONGEST_ANSWER
    ]
    return max(tokenizer, default=(-np.inf, 0, 0))


@pytest.mark.parametrize("length", [6, 40, 80])
def test_the_best_span_is_that_of_all_allowed_pairs(length):
    for _ in range(40):
        offsets = np.stack([np.arange(length) * 2, np.arange(length) * 2 + 1], 1)
        offsets[: length // 4] = -1
        may_begin = (offsets[:, 0] >= 0) & (RANDOM.random(length) < 0.6)
        logits = RANDOM.normal(size=(2, length)).astype(np.float32)
        assert best_span(logits, offsets, may_begin) == reference_span(logits, offsets, may_begin)
    assert best_span(np.zeros((2, 3), np.float32), np.full((3, 2), -1), np.zeros(3, bool)) == (
        -np.inf,
        0,
        0,
    )


class Oracle(torch.nn.Module):
    """Scores the tokens `cab` and `##s` of the test text highest, as first and last.

    Wherever a window has them.
    """

    device = torch.device("cpu")

    def __init__(self, first, last):
        super().__init__()
        self.first = first
        self.last = last

    def forward(self, input_ids, **_):
        """Logits by token."""
        output = type("Output", (), {})()
        output.start_logits, output.end_logits = (
            (input_ids == i) * 9.0 for i in (self.first, self.last)
        )
        return output


def test_an_answer_is_found_in_the_last_window_of_a_long_context(tokenizer, task):
    made = task(squad((CONTEXT, [("cats", None)], [("the cat", None)])))
    ids = [tokenizer.convert_tokens_to_ids(piece) for piece in ("cat", "##s")]
    found = made.outcomes(Oracle(*ids), tokenizer, lambda line: None)
    assert found["exact_match"].tolist() == [1, 0]
    assert found["f1"].tolist() == [1, 0]  # `cats` is not `cat`
    scores = made.scores(found, {"example": np.array([[0, 0], [0, 1]])})
    assert scores["f1"].tolist() == [1, 0.5] and made.n_resampling_units(found) == {"example": 2}


def test_padding_does_not_change_an_answer(tokenizer, task, bert, tmp_path):
    """A random model's outcomes for questions in one batch, and one by one."""
    from transformers import BertForQuestionAnswering

    torch.manual_seed(0)
    BertForQuestionAnswering(bert.config).save_pretrained(tmp_path / "qa")
    model = load_model(tmp_path / "qa", "span")
    texts = [
        ("the cat, a dog", [("dog", None)]),
        (CONTEXT, [("cab", None)]),
        ("abc", [("abc", None)]),
    ]
    together = task(squad(*texts)).outcomes(model, tokenizer, lambda line: None)
    alone = [task(squad(text)).outcomes(model, tokenizer, lambda line: None) for text in texts]
    assert together["f1"].tolist() == [float(a["f1"][0]) for a in alone]


def test_spans_are_fine_tuned_saved_and_evaluated_on_a_compressed_matrix(tokenizer, bert, tmp_path):
    """From the config entry alone, one file parted by context."""
    bert.save_pretrained(tmp_path / "base")
    tokenizer.save_pretrained(tmp_path / "base")
    write_metadata(bert, tokenizer.all_special_ids, tmp_path / "base", {})
    (tmp_path / "own.json").write_text(
        json.dumps(squad(*((CONTEXT + " cat" * i, [("cab", None)]) for i in range(6))))
    )
    own = {key: str(tmp_path / "own.json") for key in ("train", "test")}
    data = {k: v for k, v in DATA.items() if k != "group"} | {"text": ["context", "id"]} | own
    settings = {"epochs": 1, "batch_size": 4, "learning_rate": 1e-3}
    made = make_task(
        "span", ENTRY | {"data": data, "test_examples": 2, "finetune": settings}, TaskInputs({})
    )
    finetune(tmp_path / "base", made, TrainingContext(0), tmp_path / "tuned")
    assert load_file(tmp_path / "tuned/model.safetensors")["qa_outputs.weight"].shape == (2, 16)
    matrix = embedding_matrix(tmp_path / "tuned")
    storage.save(compress(matrix, "identity", ratio=1), tmp_path / "same")
    ((_, outcomes),) = evaluate(made, tmp_path / "tuned", [tmp_path / "same"], lambda line: None)
    dense = made.outcomes(load_model(tmp_path / "tuned", "span"), tokenizer, lambda line: None)
    assert {name: values.tolist() for name, values in outcomes.items()} == {
        k: v.tolist() for k, v in dense.items()
    }
    assert made.n_resampling_units(outcomes) == {"example": 2}
    assert made.entry.reported_metrics == ("f1", "exact_match")


def changed(content, change):
    """A copy of a file after `change`."""
    content = copy.deepcopy(content)
    change(content["data"][0]["paragraphs"][0])
    return content


GOOD = squad(("the cat", [("cat", None)]))


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ("[1", "dev.json: not JSON"),
        ({"rows": []}, "dev.json: no 'data' of SQuAD's format: check .*`data.format`"),
        ([1], "dev.json: no 'data' of SQuAD's format"),
        ({"data": [1]}, "dev.json, article 1: no 'paragraphs'"),
        ({"data": []}, "dev.json has no rows: the test split is empty"),
        (
            changed(GOOD, lambda p: p.pop("context")),
            r"dev.json, article 1 \(Pets\), paragraph 1: no 'context'",
        ),
        (
            changed(GOOD, lambda p: p.pop("qas")),
            r"dev.json, article 1 \(Pets\), paragraph 1: no 'qas'",
        ),
        (changed(GOOD, lambda p: p["qas"][0].pop("id")), r"paragraph 1, question 1: no 'id'"),
        (
            changed(GOOD, lambda p: p["qas"][0].pop("question")),
            "dev.json, question 0-0: no 'question'",
        ),
        (
            changed(GOOD, lambda p: p["qas"][0].update(question="")),
            "question 0-0: no text in column 'question'",
        ),
        (
            changed(GOOD, lambda p: p["qas"][0].pop("answers")),
            "dev.json, question 0-0: no 'answers'",
        ),
        (
            changed(GOOD, lambda p: p["qas"][0].update(answers=[])),
            "question 0-0, column 'answers': .*leave questions without",
        ),
        (
            changed(GOOD, lambda p: p["qas"][0]["answers"][0].pop("answer_start")),
            "question 0-0: no 'answer_start'",
        ),
        (
            squad(("the cat", [("cat", 3)])),
            "dev.json, question 0-0: the answer 'cat' is not at character 3 .* ' ca' stands",
        ),
        (
            squad(("the cat", [("cat", -3)])),
            "question 0-0: the answer 'cat' is not at character -3",
        ),
        (squad(("the cat", [("", 3)])), "question 0-0: the answer '' is not at"),
    ],
)
def test_what_is_wrong_in_a_file_is_told_with_the_item(content, message, task):
    with pytest.raises(UserError, match=message) as caught:
        task(content).test  # noqa: B018
    assert "\n" not in str(caught.value)


def test_a_question_that_leaves_no_room_is_told(tokenizer, task):
    with pytest.raises(
        UserError,
        match="the question 'a cat' has 2 tokens, which leaves 4 of `max_length` 9 .*`stride` 4",
    ):
        windows_of(task(GOOD).test, tokenizer, 9, 4)


def test_tables_of_the_hub_and_own_ones_are_read_alike(task):
    rows = [("the cat", "who", "cat", 4), ("a dog", "what", "a", 0)]
    hub = [
        {
            "id": "1",
            "context": c,
            "question": q,
            "answers": {"text": [t], "answer_start": [s]},
            "title": "x",
        }
        for c, q, t, s in rows
    ]
    as_hub = task("".join(json.dumps(row) + "\n" for row in hub), DATA | {"format": "jsonl"}).test
    own = {"format": "csv", "text": ["text", "question"], "label": "answer", "answer_start": "at"}
    lines = "text,question,answer,at\n" + "".join(",".join(map(str, row)) + "\n" for row in rows)
    assert task(lines, own).test == as_hub
    assert as_hub.texts == ["the cat", "a dog"] and as_hub.labels[0] == (("cat",), (4,))
    for wrong, message in (
        ("cat,5", "line 2: the answer 'cat' is not at character 5"),
        ("cat,x", "line 2, column 'at'"),
    ):
        with pytest.raises(UserError, match=message):
            task(lines.replace("cat,4", wrong), own).test  # noqa: B018
    with pytest.raises(
        UserError, match="line 1: no column 'answer'; there are .*did you mean 'answers'"
    ):
        rows_of_hub = "".join(json.dumps(row) + "\n" for row in hub)
        task(rows_of_hub, own | {"format": "jsonl", "text": DATA["text"]}).test  # noqa: B018
    with pytest.raises(
        UserError, match="as SQuAD's JSON: no column 'answer'; there are .*did you mean 'answers'"
    ):
        task(GOOD, DATA | {"label": "answer"}).test  # noqa: B018


@pytest.mark.parametrize("group", ["title", None])
def test_one_file_is_parted_by_article_or_context(group, tmp_path):
    articles = [
        squad(
            *((f"the cat {i} {j}", [("cat", None)], [("the", None)]) for j in range(3)),
            title=str(i),
        )
        for i in range(8)
    ]
    path = tmp_path / "one.json"
    path.write_text(json.dumps({"data": [a["data"][0] for a in articles]}))
    data = {k: v for k, v in DATA.items() if k != "group"} | (
        {"group": group} if group else {"text": ["context", "id"]}
    )
    entry = ENTRY | {"data": data | {"train": str(path), "test": str(path)}, "test_examples": 10}
    made = make_task("span", entry, TaskInputs({}))
    key = {"title": lambda text: text.split()[2], None: lambda text: text}[group]
    train, test = ({key(text) for text in part.texts} for part in (made.train, made.test))
    assert len(made.test.texts) == 10 and not train & test


SHARED = Path(__file__).parents[3] / "shared/data"


@pytest.mark.skipif(
    not SHARED.exists(), reason="needs a folder of the benchmarks' files beside this repository"
)
@pytest.mark.parametrize(
    ("file", "n"), [("squad/dev-v1.1.json", 10_570), ("jglue/jsquad/valid.json", 4_442)]
)
def test_published_files_are_read_whole(file, n):
    entry = ENTRY | {"checkpoint": "x", "data": DATA | {"test": str(SHARED / file)}}
    assert len(make_task("span", entry, TaskInputs({})).test.labels) == n
