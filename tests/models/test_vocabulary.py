import json

import pytest
import torch
from tokenizers import Tokenizer, decoders, models, pre_tokenizers, processors
from tokenizers.trainers import BpeTrainer
from transformers import GPT2Config, GPT2LMHeadModel, PreTrainedTokenizerFast

from embpress.models.embedding import find_embedding, tied_head
from embpress.models.vocabulary import ids_in_configs, kept_ids, trim_model, trim_tokenizer
from tests.zoo import outputs, tiny


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


POST_PROCESSORS = {
    "Llama-3": processors.Sequence(
        [
            processors.ByteLevel(trim_offsets=True),
            processors.TemplateProcessing(
                single="[CLS] $A [SEP]", special_tokens=[("[CLS]", 2), ("[SEP]", 3)]
            ),
        ]
    ),
    "RoBERTa": processors.RobertaProcessing(sep=("[SEP]", 3), cls=("[CLS]", 2)),
    "BERT": processors.BertProcessing(sep=("[SEP]", 3), cls=("[CLS]", 2)),
}


@pytest.mark.parametrize("kind", POST_PROCESSORS)
def test_special_tokens_of_any_post_processor_are_renumbered(wordpiece, kind):
    backend = wordpiece.backend_tokenizer
    description = json.loads(backend.to_str())
    # The special tokens are the last pieces, so that trimming moves their ids.
    n = len(description["model"]["vocab"])
    pieces = sorted(description["model"]["vocab"].items(), key=lambda item: (item[1] < 5, item[1]))
    new_id = {old: new for new, (_, old) in enumerate(pieces)}
    description["model"]["vocab"] = {piece: new_id[old] for piece, old in pieces}
    post = json.loads(POST_PROCESSORS[kind].__getstate__())
    text = json.dumps(post).replace('"[SEP]", 3', f'"[SEP]", {n - 2}')
    text = text.replace('"[CLS]", 2', f'"[CLS]", {n - 3}')
    text = text.replace('"ids": [2]', f'"ids": [{n - 3}]').replace(
        '"ids": [3]', f'"ids": [{n - 2}]'
    )
    description["post_processor"] = json.loads(text)
    for token in description["added_tokens"]:
        token["id"] = new_id[token["id"]]
    tokenizer = PreTrainedTokenizerFast(
        tokenizer_object=Tokenizer.from_str(json.dumps(description)), **wordpiece.special_tokens_map
    )
    before = tokenizer.convert_ids_to_tokens(tokenizer("cat")["input_ids"])
    trimmed = trim_tokenizer(tokenizer, kept_ids(tokenizer, [], ids(tokenizer, "cat")))
    found = trimmed("cat")["input_ids"]
    assert max(found) < len(trimmed) < n
    assert trimmed.convert_ids_to_tokens(found) == before == ["[CLS]", "cat", "[SEP]"]


def test_a_bytes_piece_stands_for_unknown_characters_after_trimming():
    pieces = ["<unk>", *(f"<0x{b:02X}>" for b in range(256)), "cat", "dog"]
    backend = Tokenizer(models.Unigram([(p, -1.0) for p in pieces], unk_id=0, byte_fallback=True))
    backend.decoder = decoders.ByteFallback()
    tokenizer = PreTrainedTokenizerFast(tokenizer_object=backend, unk_token="<unk>")
    trimmed = trim_tokenizer(tokenizer, kept_ids(tokenizer, [], ids(tokenizer, "cat")))
    assert trimmed.tokenize("cat") == ["cat"] and len(trimmed) == len(tokenizer) - 1
    assert trimmed.decode(trimmed("cat dog猫")["input_ids"]).replace(" ", "") == "catdog猫"


@pytest.mark.parametrize("name", ["llama_untied", "llama_tied", "bert_mlm", "t5", "bart"])
def test_head_and_biases_are_trimmed_with_the_embedding(name, tmp_path):
    model = tiny(name)
    keep = [0, 1, 2, 3, 5, 9, 22]
    before = outputs(model)[..., keep]
    trim_model(model, keep)
    model.save_pretrained(tmp_path)
    again = type(model).from_pretrained(tmp_path).eval()
    for found in (model, again):
        ids_before = torch.tensor([[3, 5, 5, 9], [1, 0, 2, 22]])
        new = torch.tensor([[keep.index(i) for i in row] for row in ids_before.tolist()])
        more = {"decoder_input_ids": new} if model.config.is_encoder_decoder else {}
        with torch.no_grad():
            torch.testing.assert_close(found(input_ids=new, **more).logits, before)


def test_ids_in_all_configs_are_renumbered():
    model = tiny("gpt2")
    model.generation_config.eos_token_id = [1, 7]
    model.generation_config.suppress_tokens = [5, 9]
    model.config.sep_token_id = 11
    assert ids_in_configs(model) == {0, 1, 5, 7, 9, 11}
    trim_model(model, [0, 7, 9, 11])
    assert (model.config.bos_token_id, model.config.sep_token_id) == (0, 3)
    assert model.generation_config.eos_token_id == [1]
    assert model.generation_config.suppress_tokens == [2]


def test_a_norm_over_as_many_features_as_rows_is_not_trimmed():
    model = tiny("bert_mlm", vocab_size=16)  # hidden_size is 16 too
    keep = [0, 1, 2, 3, 5]
    ids = torch.tensor([[3, 1, 2]])
    before = model(input_ids=ids).logits[..., keep]
    trim_model(model, keep)
    torch.testing.assert_close(model(input_ids=ids).logits, before)
