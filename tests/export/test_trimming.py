"""Vocabulary trimming by `compress`: rows and tokenizer together."""

import pytest
import torch
from tokenizers import Tokenizer, decoders, models, pre_tokenizers
from tokenizers.trainers import BpeTrainer
from transformers import AutoTokenizer, PreTrainedTokenizerFast

from embpress import compress_model, inspect, load
from embpress.cli import main
from embpress.errors import InfeasibleRatio, UserError
from embpress.methods import TRIMMING, compress
from embpress.models.vocabulary import ids_before_padding
from tests.conftest import PIECES, wordpiece_tokenizer
from tests.zoo import tiny

WORDS = ["lower", "lowest", "newer", "wider", "widest", "дом", "дома"]


def unigram():
    """Special tokens stand last, so that trimming moves their ids."""
    pieces = ["<unk>", "▁cat", "▁dog", "▁c", "▁d", "▁猫", "▁", "c", "a", "t", "d", "o", "g", "猫"]
    scores = [(piece, -float(len(pieces)) / len(piece)) for piece in [*pieces, "<pad>", "</s>"]]
    backend = Tokenizer(models.Unigram(scores, unk_id=0))
    backend.pre_tokenizer = pre_tokenizers.Metaspace()
    backend.decoder = decoders.Metaspace()
    marks = dict(unk_token="<unk>", pad_token="<pad>", eos_token="</s>")
    return PreTrainedTokenizerFast(tokenizer_object=backend, **marks)


def bpe():
    """A byte-level BPE with merges of two scripts."""
    backend = Tokenizer(models.BPE())
    backend.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    backend.decoder = decoders.ByteLevel()
    alphabet = pre_tokenizers.ByteLevel.alphabet()
    trainer = BpeTrainer(
        vocab_size=300, initial_alphabet=alphabet, special_tokens=["<|endoftext|>"]
    )
    backend.train_from_iterator([" ".join(WORDS)] * 4, trainer)
    return PreTrainedTokenizerFast(tokenizer_object=backend, eos_token="<|endoftext|>")


CASES = {
    # tokenizer, model, tokens to keep, texts to count, a text of kept pieces, another one
    "WordPiece": (wordpiece_tokenizer, "bert_mlm", 15, ["cat cats", "the"], "cats, abc.", "the c"),
    "Unigram": (unigram, "llama_untied", 13, ["cat 猫", "猫 cat"], "cat 猫", "dog cat"),
    "BPE": (bpe, "gpt2", 270, ["wider widest", "дома"], "дома", "lower newest дом"),
}


def write(folder, tokenizer, name, **changes):
    """A model folder with one row a token; the config names ids as its tokenizer does."""
    model = tiny(name, vocab_size=len(tokenizer), **changes)
    for mark in ("pad", "eos", "bos"):
        token_id = getattr(tokenizer, f"{mark}_token_id")
        setattr(model.config, f"{mark}_token_id", token_id)
        if model.can_generate():
            setattr(model.generation_config, f"{mark}_token_id", token_id)
    model.save_pretrained(folder)
    tokenizer.save_pretrained(folder)
    return model


@pytest.mark.parametrize("kind", CASES)
def test_dropped_tokens_are_never_produced_and_kept_text_has_the_same_outputs(kind, tmp_path):
    make, name, n, texts, kept_text, other_text = CASES[kind]
    tokenizer = make()
    dense = write(tmp_path / "model", tokenizer, name)
    for language, text in enumerate(texts):
        (tmp_path / f"{language}.txt").write_text(text)
    ratio = len(tokenizer) / n
    files = sorted(tmp_path.glob("*.txt"))
    done = compress_model(tmp_path / "model", tmp_path / "out", TRIMMING, ratio, texts=files)
    trimmed = AutoTokenizer.from_pretrained(tmp_path / "out")
    model = load(tmp_path / "out")
    vocabulary = trimmed.get_vocab()
    assert (
        sorted(vocabulary.values()) == list(range(n)) and vocabulary.keys() < tokenizer.vocab.keys()
    )
    old_ids = [tokenizer.vocab[piece] for piece in sorted(vocabulary, key=vocabulary.get)]
    with torch.no_grad():
        before = dense(**tokenizer(kept_text, return_tensors="pt")).logits[..., old_ids]
        after = model(**trimmed(kept_text, return_tensors="pt")).logits
    torch.testing.assert_close(after, before)
    assert trimmed.tokenize(kept_text) == tokenizer.tokenize(kept_text)
    assert trimmed.tokenize(other_text) != tokenizer.tokenize(other_text)
    assert max(trimmed(other_text)["input_ids"]) < n == done.n_rows
    for mark in ("pad", "eos"):
        token_id = getattr(trimmed, f"{mark}_token_id")
        assert getattr(model.config, f"{mark}_token_id") == token_id
        if model.can_generate():
            assert getattr(model.generation_config, f"{mark}_token_id") == token_id
    if kind != "WordPiece":  # its tokens are split into characters or unknown
        assert trimmed.decode(trimmed(other_text)["input_ids"]) == other_text
    assert done.ratio == pytest.approx(ratio) and done.shape == (len(tokenizer), 16)


def test_the_command_reports_both_vocabularies(tmp_path, capsys):
    write(tmp_path / "model", wordpiece_tokenizer(), "bert")
    (tmp_path / "model/vocab.txt").write_text("\n".join(PIECES))
    (tmp_path / "model/LICENSE").write_text("free")
    (tmp_path / "counts.tsv").write_text("cat\t9\nthe\t5\n")
    words = ["compress", "--model", str(tmp_path / "model"), "--method", TRIMMING, "--ratio", "1.1"]
    words += ["--counts", str(tmp_path / "counts.tsv"), "--out", str(tmp_path / "out")]
    assert main(words) == 0
    assert "15 of 17 tokens" in capsys.readouterr().out
    assert main(["inspect", str(tmp_path / "out")]) == 0
    assert "15 of 17 tokens" in capsys.readouterr().out
    found = inspect(tmp_path / "out")
    assert found.embedding_ratio == pytest.approx(17 / 15) and found.embedding_after == 15 * 16 * 4
    assert (tmp_path / "out/LICENSE").exists() and not (tmp_path / "out/vocab.txt").exists()
    assert "cat" in AutoTokenizer.from_pretrained(tmp_path / "out").get_vocab()
    load(tmp_path / "out").save_pretrained(tmp_path / "again")
    assert inspect(tmp_path / "again").n_rows_before == 17


def test_rows_keep_the_type_of_the_weights(tmp_path):
    model = write(tmp_path / "model", wordpiece_tokenizer(), "bert").to(torch.bfloat16)
    model.save_pretrained(tmp_path / "model")
    counts = torch.tensor([int(piece == "dog") for piece in PIECES])
    done = compress_model(tmp_path / "model", tmp_path / "out", TRIMMING, 2.2, counts=counts)
    assert (done.n_rows, done.embedding_before, done.embedding_after) == (15, 17 * 32, 15 * 32)
    assert done.ratio == pytest.approx(2 * 17 / 15)
    dog = AutoTokenizer.from_pretrained(tmp_path / "out").get_vocab()["dog"]
    found = load(tmp_path / "out").get_input_embeddings()(torch.tensor([dog]))
    dense = model.get_input_embeddings().weight[PIECES.index("dog")]
    assert found.dtype == torch.bfloat16 and torch.equal(found[0], dense)


def test_padding_from_which_positions_are_numbered_keeps_its_id():
    assert ids_before_padding(tiny("roberta_mlm", pad_token_id=1)) == {0, 1}
    assert ids_before_padding(tiny("bert_mlm")) == set()
    assert ids_before_padding(tiny("bart")) == set()


def test_what_cannot_be_trimmed_is_refused(tmp_path):
    model = write(tmp_path / "model", wordpiece_tokenizer(), "bert")
    with pytest.raises(InfeasibleRatio, match=r"1\.21 on 17 x 16"):  # 14 tokens must stay
        compress_model(tmp_path / "model", tmp_path / "out", TRIMMING, 3)
    with pytest.raises(UserError, match="'others'"):
        compress_model(tmp_path / "model", tmp_path / "out", TRIMMING, 1, options={"others": "unk"})
    model.save_pretrained(tmp_path / "bare")
    with pytest.raises(UserError, match="tokenizer"):
        compress_model(tmp_path / "bare", tmp_path / "out", TRIMMING, 1)
    with pytest.raises(UserError, match="method of a study"):
        compress(torch.randn(9, 4), TRIMMING, 2)
    assert not (tmp_path / "out").exists()
