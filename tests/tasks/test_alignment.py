"""Tokens in Python aligned with their text.

What a tokenizer in Rust tells is the oracle, and real Japanese the trial.
"""

import json
import unicodedata

import pytest
from tokenizers import Tokenizer, models, normalizers, pre_tokenizers, processors
from transformers import BertJapaneseTokenizer, PreTrainedTokenizerFast

from embpress.tasks import TaskInputs
from embpress.tasks._alignment import offsets_of
from embpress.tasks._windows import windows_of

from ..task_entries import make_task

TEXT = (
    "梅雨（つゆ、ばいう）は、北海道と小笠原諸島を除く日本、"
    "ｶﾞｽ㌔の Ｗindows１０ を😀使う。５月から７月にかけて来る曇りや雨の多い期間。"
)
WORDS = [
    "梅雨",
    "つゆ",
    "北海道",
    "を",
    "は",
    "の",
    "日本",
    "期間",
    "。",
    "、",
    "雨",
    "月",
    "から",
    "10",
    "キロ",
]
SPECIALS = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]"]


@pytest.fixture
def japanese(tmp_path):
    """MeCab, then WordPiece of some words and all characters but the emoji.

    As Tohoku's BERT is made.
    """
    characters = sorted(set(unicodedata.normalize("NFKC", TEXT).lower()) - {" ", "😀"})
    pieces = [
        *SPECIALS,
        *WORDS,
        *(c for c in characters if c not in WORDS),
        *(f"##{c}" for c in characters),
    ]
    (tmp_path / "vocab.txt").write_text("\n".join(pieces), encoding="utf-8")
    kinds = {
        "word_tokenizer_type": "mecab",
        "subword_tokenizer_type": "wordpiece",
        "do_lower_case": True,
    }
    return BertJapaneseTokenizer(
        tmp_path / "vocab.txt", **kinds, mecab_kwargs={"mecab_dic": "unidic_lite"}
    )


def test_every_piece_covers_what_it_was_read_from(japanese):
    tokens = japanese.tokenize(TEXT)
    offsets = offsets_of(tokens, TEXT, japanese.unk_token)
    covered = [TEXT[start:end] for start, end in offsets]
    for token, text in zip(tokens, covered):
        if token == "[UNK]":
            assert text == "😀"
        elif text:  # of ㌔, which is read as two characters, the first piece has none
            assert unicodedata.normalize("NFKC", text).lower() == token.removeprefix("##")
    assert covered.count("😀") == 1 and "ｶﾞ" in covered and "Ｗ" in covered
    assert "".join(covered) == TEXT.replace(" ", "")


def test_offsets_are_those_that_a_tokenizer_in_rust_tells():
    pieces = [*SPECIALS, "the", "cat", "##s", ",", "a", "##b", "##c", "."]
    backend = Tokenizer(models.WordPiece({p: i for i, p in enumerate(pieces)}, unk_token="[UNK]"))
    backend.normalizer = normalizers.Sequence([normalizers.NFKC(), normalizers.Lowercase()])
    backend.pre_tokenizer = pre_tokenizers.BertPreTokenizer()
    backend.post_processor = processors.TemplateProcessing(single="$A", special_tokens=[])
    rust = PreTrainedTokenizerFast(tokenizer_object=backend, unk_token="[UNK]")
    for text in (
        "The  cats, abc. ",
        "dog dog the DOG, cat",
        "ｃat ｄog.",
        "",
        "xyz",
        "the\u3000cat ①②",
    ):
        encoded = rust(text, return_offsets_mapping=True)
        found = offsets_of(rust.convert_ids_to_tokens(encoded["input_ids"]), text, "[UNK]")
        assert [tuple(pair) for pair in found.tolist()] == encoded["offset_mapping"], text


def test_windows_of_a_tokenizer_in_python_cover_the_context(japanese, tmp_path):
    """And an answer's tokens, found by its characters, are its own."""
    answers = [{"text": "小笠原諸島", "answer_start": TEXT.index("小笠原")}]
    paragraph = {"context": TEXT, "qas": [{"id": "q", "question": "梅雨は？", "answers": answers}]}
    (tmp_path / "one.json").write_text(
        json.dumps({"data": [{"title": "梅雨", "paragraphs": [paragraph]}]})
    )
    path = str(tmp_path / "one.json")
    data = {
        "format": "squad",
        "text": ["context", "question"],
        "label": "answers",
        "test": path,
        "train": path,
    }
    entry = {"checkpoint": "x", "unit": "characters", "max_length": 24, "stride": 6}
    task = make_task(
        "span",
        entry | {"kind": "span", "protocol": "finetune_then_compress", "data": data},
        TaskInputs({}),
    )
    windows = windows_of(task.test, japanese, 24, 6)
    assert len(windows.example) > 2 and all(len(ids) <= 24 for ids in windows.encoded["input_ids"])
    parts = [part[part[:, 0] >= 0].tolist() for part in windows.offsets]
    joined = parts[0] + [pair for part in parts[1:] for pair in part[6:]]
    assert joined == offsets_of(japanese.tokenize(TEXT), TEXT, "[UNK]").tolist()
    rows = task.training_rows(japanese)
    held = [(row, part) for row, part in zip(rows, windows.offsets) if row["start_positions"]]
    for row, part in held:
        assert TEXT[part[row["start_positions"], 0] : part[row["end_positions"], 1]] == "小笠原諸島"
    assert held and rows[0]["input_ids"][0] == japanese.cls_token_id
