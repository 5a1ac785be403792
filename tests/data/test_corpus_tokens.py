"""How a corpus is cut follows from the tokenizer, and special tokens are counted once an input."""

import pytest
import torch
from tokenizers import Regex, Tokenizer, models, normalizers, pre_tokenizers, processors, trainers
from transformers import PreTrainedTokenizerFast

from embpress.data import corpus_tokens
from embpress.data.corpus_tokens import (
    CountedCorpus,
    choose_segmentation,
    count_corpus_tokens,
    special_tokens_per_input,
    with_special_tokens,
)
from embpress.data.texts import write_texts
from embpress.data.token_counts import count_texts
from embpress.data.words import count_words, strip_runs, write_words
from embpress.errors import UserError

TEXTS = [
    "The cat, the dogs.\n\nthe  cat 12",
    "cats abc the\n猫が the  cat\n",
    "cat the\tthe\u3000dog",
    "don't -- the cat",
] * 5


def trained(backend, trainer):
    """A fast tokenizer, trained on TEXTS."""
    backend.train_from_iterator(TEXTS, trainer)
    return PreTrainedTokenizerFast(tokenizer_object=backend)


def xlm_roberta(wordpiece):
    """Unigram pieces with Metaspace, and <s> A </s>."""
    backend = Tokenizer(models.Unigram())
    spaces = normalizers.Replace(Regex(r"\s+"), " ")
    backend.normalizer = normalizers.Sequence(
        [normalizers.NFKC(), spaces, normalizers.Strip(left=False)]
    )
    backend.pre_tokenizer = pre_tokenizers.Metaspace()
    specials = ["<s>", "</s>", "<unk>"]
    trainer = trainers.UnigramTrainer(vocab_size=60, special_tokens=specials, unk_token="<unk>")
    tokenizer = trained(backend, trainer)
    tokenizer.backend_tokenizer.post_processor = processors.RobertaProcessing(
        ("</s>", 1), ("<s>", 0), add_prefix_space=False
    )
    return tokenizer


def gpt2(wordpiece):
    """Byte-level BPE, without special tokens."""
    backend = Tokenizer(models.BPE())
    backend.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    alphabet = pre_tokenizers.ByteLevel.alphabet()
    return trained(backend, trainers.BpeTrainer(vocab_size=300, initial_alphabet=alphabet))


def gemma(wordpiece):
    """BPE over the whole text, whose spaces are replaced, and <bos> A."""
    backend = Tokenizer(models.BPE(unk_token="<unk>", byte_fallback=True))
    backend.normalizer = normalizers.Replace(" ", "▁")
    # As in SentencePiece, no piece reaches into the next word.
    backend.pre_tokenizer = pre_tokenizers.Split(Regex(r"▁*[^▁\s]+|\s"), "isolated")
    trainer = trainers.BpeTrainer(vocab_size=80, special_tokens=["<bos>", "<unk>"])
    tokenizer = trained(backend, trainer)
    tokenizer.backend_tokenizer.pre_tokenizer = pre_tokenizers.Split(" ", "merged_with_previous")
    tokenizer.backend_tokenizer.post_processor = processors.TemplateProcessing(
        single="<bos> $A", special_tokens=[("<bos>", 0)]
    )
    return tokenizer


def across_spaces(wordpiece):
    """BPE whose tokens reach over spaces, so that no word has tokens of its own."""
    backend = Tokenizer(models.BPE())
    return trained(backend, trainers.BpeTrainer(vocab_size=80))


def bert(wordpiece):
    """WordPiece, and [CLS] A [SEP]."""
    return wordpiece


KINDS = {
    bert: ("whitespace", {"[CLS]", "[SEP]"}),
    xlm_roberta: ("whitespace", {"<s>", "</s>"}),
    gpt2: ("runs", set()),
    gemma: ("runs", {"<bos>"}),
    across_spaces: ("texts", set()),
}


@pytest.fixture
def corpus(tmp_path):
    write_texts(TEXTS, tmp_path / "counted.jsonl")
    write_words(count_words(TEXTS, "runs"), tmp_path / "words.tsv")
    return CountedCorpus("news", tmp_path / "words.tsv", tmp_path / "counted.jsonl")


@pytest.mark.parametrize("kind", KINDS)
def test_counts_are_those_of_whole_texts_and_an_input_has_its_special_tokens(
    corpus, wordpiece, kind
):
    segmenter, specials = KINDS[kind]
    tokenizer = kind(wordpiece)
    n_rows = len(tokenizer)
    found = count_corpus_tokens(corpus, tokenizer, n_rows)
    assert found.segmentation == (segmenter, 0)
    assert found.n_inputs == 5 * (2 + 2 + 1 + 1)  # lines that are not blank
    special_ids = set(tokenizer.convert_tokens_to_ids(list(specials)))
    assert special_tokens_per_input(tokenizer) == dict.fromkeys(special_ids, 1)
    expected = count_texts(TEXTS, tokenizer, n_rows)
    assert all(expected[i] == 0 for i in special_ids)
    expected[list(special_ids)] = found.n_inputs
    assert torch.equal(found.counts, expected)


def test_spaced_words_of_gemmas_kind_are_counted(corpus, wordpiece):
    tokenizer = gemma(wordpiece)
    counts = count_corpus_tokens(corpus, tokenizer, len(tokenizer)).counts
    n_spaced = sum(text.count(" the") for text in TEXTS)
    assert counts[tokenizer.convert_tokens_to_ids("▁the")] == n_spaced > 0


def test_a_paragraph_longer_than_the_model_reads_is_several_inputs(tmp_path, wordpiece):
    texts = ["the cat " * 10 + "\nthe", "the cat"] * 3  # 20, 1 and 2 tokens
    write_texts(texts, tmp_path / "counted.jsonl")
    write_words(count_words(texts, "runs"), tmp_path / "words.tsv")
    corpus = CountedCorpus("news", tmp_path / "words.tsv", tmp_path / "counted.jsonl")
    # 8 tokens of a text stand between [CLS] and [SEP].
    found = count_corpus_tokens(corpus, wordpiece, len(wordpiece), input_length=10)
    assert found.n_inputs == 3 * (3 + 1 + 1)
    assert count_corpus_tokens(corpus, wordpiece, len(wordpiece)).n_inputs == 3 * 3


def test_whole_texts_of_a_streamed_corpus_are_counted_without_the_held_out_ones(
    tmp_path, wordpiece
):
    texts = [f"{text!r} {i}" for i, text in enumerate(TEXTS)]
    folder = tmp_path / "folder"
    folder.mkdir()
    (folder / "a.txt").write_text("\n".join(texts))
    counted = [text for i, text in enumerate(texts) if i % 4]
    write_texts(counted[:3], tmp_path / "counted.jsonl")
    write_words(count_words(counted, "runs"), tmp_path / "words.tsv")
    tokenizer = across_spaces(wordpiece)
    corpus = CountedCorpus(
        "news",
        tmp_path / "words.tsv",
        tmp_path / "counted.jsonl",
        folder=folder,
        held_out=0.25,
    )
    found = count_corpus_tokens(corpus, tokenizer, len(tokenizer))
    assert found.segmentation.segmenter == "texts"
    assert torch.equal(found.counts, count_texts(counted, tokenizer, len(tokenizer)))


@pytest.mark.parametrize(
    ("kind", "wrong"),
    [(xlm_roberta, "mecab"), (xlm_roberta, "runs"), (gpt2, "whitespace"), (gemma, "whitespace")],
)
def test_a_wrong_segmenter_of_a_study_is_refused_with_the_difference(wordpiece, kind, wrong):
    tokenizer = kind(wordpiece)
    with pytest.raises(
        UserError, match=rf"corpora\.news: .*{wrong}.* \d+\.\d%.*remove `segmenter`"
    ):
        choose_segmentation(TEXTS, tokenizer, "news", wrong)
    right = KINDS[kind][0]
    assert choose_segmentation(TEXTS, tokenizer, "news", right) == (right, 0)


def test_a_large_corpus_is_sampled_from_everywhere(monkeypatch):
    monkeypatch.setattr(corpus_tokens, "SAMPLE_CHARACTERS", 100)
    monkeypatch.setattr(corpus_tokens, "TEXT_CHARACTERS", 10)
    texts = [f"{i:03} and more than ten" for i in range(100)]
    sample = corpus_tokens.sample_texts(texts)
    assert sample == [text[:10] for text in texts[::10]]


def test_words_between_spaces_are_made_of_runs():
    assert strip_runs(count_words(TEXTS, "runs")) == {
        word: n for word, n in count_words(TEXTS, "whitespace").items() if word[0]
    }


def test_special_tokens_that_a_users_counts_lack_are_those_of_full_inputs(wordpiece):
    counts = torch.zeros(len(wordpiece), dtype=torch.int64)
    cls, sep, cat = wordpiece.convert_tokens_to_ids(["[CLS]", "[SEP]", "cat"])
    counts[[cat, sep]] = torch.tensor([100, 7])
    found = with_special_tokens(counts, wordpiece, 12)
    assert found[cls] == 11  # 107 tokens, 10 of them in an input
    assert found[sep] == 7 and found[cat] == 100 and found.sum() == 118
    assert counts[cls] == 0
    assert with_special_tokens(counts, wordpiece, None)[cls] == 1
