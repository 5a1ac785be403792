import torch
from tokenizers import Tokenizer, decoders, models, pre_tokenizers
from tokenizers.trainers import BpeTrainer
from transformers import GPT2Config, GPT2LMHeadModel, PreTrainedTokenizerFast

from embpress.models.embedding import find_embedding, tied_head
from embpress.models.vocabulary import kept_ids, trim_model, trim_tokenizer


def ids(tokenizer, *pieces):
    return tokenizer.convert_tokens_to_ids(list(pieces))


def test_wordpiece_keeps_specials_single_characters_and_seen_pieces(wordpiece):
    keep = kept_ids(wordpiece, [], ids(wordpiece, "cat"))
    kept = set(wordpiece.convert_ids_to_tokens(keep))
    assert {"[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]", "a", "##c", ",", "cat"} <= kept
    assert "dog" not in kept and "the" not in kept


def test_trimmed_wordpiece_cuts_kept_text_alike(wordpiece):
    trimmed = trim_tokenizer(wordpiece, kept_ids(wordpiece, [], ids(wordpiece, "cat", "##s")))
    text = "cats, abc."
    assert trimmed.tokenize(text) == wordpiece.tokenize(text)
    found = trimmed(text)["input_ids"]
    assert max(found) < len(trimmed) < len(wordpiece)
    assert trimmed.convert_ids_to_tokens([found[0], found[-1]]) == ["[CLS]", "[SEP]"]


def test_trimmed_model_gives_the_same_hidden_states(wordpiece, bert):
    text = "the cats, abc."
    before = bert(**wordpiece(text, return_tensors="pt")).last_hidden_state
    keep = kept_ids(wordpiece, [], ids(wordpiece, "the", "cat", "##s"))
    trim_model(bert, keep)
    after = bert(**trim_tokenizer(wordpiece, keep)(text, return_tensors="pt")).last_hidden_state
    assert find_embedding(bert)[1].num_embeddings == len(keep) == bert.config.vocab_size
    torch.testing.assert_close(after, before)


def test_script_keeps_kana_kanji_and_their_punctuation():
    vocabulary = {p: i for i, p in enumerate(["<unk>", "猫", "▁カタ", "。", "дом", "cat", "「"])}
    backend = Tokenizer(models.Unigram([(p, -1.0) for p in vocabulary], unk_id=0))
    tokenizer = PreTrainedTokenizerFast(tokenizer_object=backend, unk_token="<unk>")
    assert [list(vocabulary)[i] for i in kept_ids(tokenizer, ["japanese"], [])] == [
        "<unk>",
        "猫",
        "▁カタ",
        "。",
        "「",
    ]


def test_bpe_keeps_the_parts_that_a_kept_piece_is_merged_from():
    backend = Tokenizer(models.BPE())
    backend.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    backend.decoder = decoders.ByteLevel()
    texts = ["lower lowest newer wider widest"] * 4
    backend.train_from_iterator(
        texts, BpeTrainer(vocab_size=320, initial_alphabet=pre_tokenizers.ByteLevel.alphabet())
    )
    tokenizer = PreTrainedTokenizerFast(tokenizer_object=backend)
    word = tokenizer("widest")["input_ids"]
    trimmed = trim_tokenizer(tokenizer, kept_ids(tokenizer, [], word))
    assert trimmed.tokenize("widest") == tokenizer.tokenize("widest")
    assert len(trimmed) < len(tokenizer)
    assert trimmed.decode(trimmed("newer text")["input_ids"]) == "newer text"


def test_added_tokens_that_are_not_special_stay(wordpiece):
    wordpiece.add_tokens(["<file>"])
    trimmed = trim_tokenizer(wordpiece, kept_ids(wordpiece, [], ids(wordpiece, "cat")))
    assert trimmed.tokenize("cat <file>") == ["cat", "<file>"]
    assert max(trimmed("cat <file>")["input_ids"]) < len(trimmed) < len(wordpiece)


def test_trimming_keeps_a_tied_head_tied():
    model = GPT2LMHeadModel(
        GPT2Config(vocab_size=20, n_embd=8, n_layer=1, n_head=2, n_positions=16)
    ).eval()
    before = model(input_ids=torch.tensor([[3, 5]])).logits[..., [3, 5, 7]]
    trim_model(model, [3, 5, 7])
    assert tied_head(model) is not None
    torch.testing.assert_close(model(input_ids=torch.tensor([[0, 1]])).logits, before)
