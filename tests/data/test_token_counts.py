from collections import Counter

import pytest
import torch
from tokenizers import Tokenizer, models, pre_tokenizers
from tokenizers.trainers import BpeTrainer
from transformers import PreTrainedTokenizerFast

from embpress.data import token_counts as frequency
from embpress.data.token_counts import count_table, count_tokens, read_counts, write_counts
from embpress.data.words import count_words, write_words

TEXTS = ["The cat, the dogs.", "cats abc the", "cat"]


def direct_counts(tokenizer, texts, n_rows):
    """Counts of whole texts, one after another: the slow way."""
    counts = torch.zeros(n_rows, dtype=torch.int64)
    for text in texts:
        for i in tokenizer(text, add_special_tokens=False)["input_ids"]:
            counts[i] += 1
    return counts


def test_counting_by_words_equals_counting_texts_for_wordpiece(wordpiece):
    counts = count_tokens(count_words(TEXTS), wordpiece, 20)
    assert counts.sum() > 10
    assert torch.equal(counts, direct_counts(wordpiece, TEXTS, 20))


def test_padding_in_a_tokenizer_file_is_not_counted(wordpiece):
    wordpiece.backend_tokenizer.enable_padding(length=16)
    assert count_tokens(count_words(TEXTS), wordpiece, 20)[0] == 0


def test_metaspace_word_without_space_gets_no_mark():
    pieces = [("<unk>", 0.0), ("▁", -3.0), ("猫", -2.0), ("が", -2.0), ("▁猫", -1.0)]
    backend = Tokenizer(models.Unigram(pieces, unk_id=0))
    backend.pre_tokenizer = pre_tokenizers.Metaspace()
    tokenizer = PreTrainedTokenizerFast(tokenizer_object=backend, unk_token="<unk>")
    counts = count_tokens(
        Counter({("猫", True): 2, ("が", False): 3, ("猫", False): 5}), tokenizer, 5
    )
    assert counts.tolist() == [0, 0, 5, 3, 2]


def byte_level(texts, pre_tokenizer):
    """A byte-level BPE of 300 tokens, trained on texts."""
    backend = Tokenizer(models.BPE(unk_token=None, vocab={}, merges=[]))
    backend.pre_tokenizer = pre_tokenizer
    backend.train_from_iterator(
        texts, BpeTrainer(vocab_size=300, initial_alphabet=pre_tokenizers.ByteLevel.alphabet())
    )
    return PreTrainedTokenizerFast(tokenizer_object=backend)


def test_byte_level_counts_equal_counting_texts():
    tokenizer = byte_level(TEXTS * 5, pre_tokenizers.ByteLevel(add_prefix_space=False))
    by_words = count_tokens(count_words(TEXTS), tokenizer, 300)
    # Counting by words takes a text's start for a space; so does this.
    assert torch.equal(by_words, direct_counts(tokenizer, [" " + t for t in TEXTS], 300))


@pytest.mark.parametrize("digits", [False, True])
def test_byte_level_counts_by_runs_are_exact_with_line_ends_and_starts(digits):
    pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    if digits:  # SmolLM2's
        pre_tokenizer = pre_tokenizers.Sequence(
            [pre_tokenizers.Digits(individual_digits=True), pre_tokenizer]
        )
    texts = [
        'The  cat\'s \n\n\tdogs, 1234 ("x")!\n',
        "\n",
        " a\u3000b\x1cc  d\u200be\n \n",
        "don't -- stop..  \r\nNow",
        "猫 が\t",
    ]
    tokenizer = byte_level(texts * 5, pre_tokenizer)
    assert torch.equal(
        count_tokens(count_words(texts, "runs"), tokenizer, 300),
        direct_counts(tokenizer, texts, 300),
    )


def test_counting_by_words_equals_counting_texts_for_unigrams_with_metaspace():
    letters = sorted(set("".join(TEXTS)) - {" "})
    pieces = [
        ("<unk>", 0.0),
        ("▁", -3.0),
        ("▁the", -2.0),
        ("cat", -2.5),
        ("s▁", -1.0),
        *((c, -4.0) for c in letters),
    ]
    backend = Tokenizer(models.Unigram(pieces, unk_id=0))
    backend.pre_tokenizer = pre_tokenizers.Sequence(
        [pre_tokenizers.WhitespaceSplit(), pre_tokenizers.Metaspace()]
    )
    tokenizer = PreTrainedTokenizerFast(tokenizer_object=backend, unk_token="<unk>")
    texts = [*TEXTS, " the  the\ncats?"]
    assert torch.equal(
        count_tokens(count_words(texts), tokenizer, 30), direct_counts(tokenizer, texts, 30)
    )


def test_a_table_is_counted_piece_by_piece(wordpiece, tmp_path, monkeypatch):
    monkeypatch.setattr(frequency, "WORDS_AT_ONCE", 2)
    write_words(count_words(TEXTS), tmp_path / "words.tsv")
    assert torch.equal(
        count_table(tmp_path / "words.tsv", wordpiece, 20), direct_counts(wordpiece, TEXTS, 20)
    )


def test_words_that_stand_equally_often_share_a_text_and_change_nothing(wordpiece, monkeypatch):
    monkeypatch.setattr(frequency, "WORDS_PER_TEXT", 2)
    texts = ["cat dog the a b c", "ca the, THE ##a . cats\x1c [MASK] a" * 3, "dog the, b"]
    assert torch.equal(
        count_tokens(count_words(texts), wordpiece, 20), direct_counts(wordpiece, texts, 20)
    )


def test_counts_round_trip(tmp_path):
    counts = torch.tensor([3, 0, 2**40])
    write_counts(counts, tmp_path / "c.safetensors")
    assert torch.equal(read_counts(tmp_path / "c.safetensors"), counts)
