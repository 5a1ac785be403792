import importlib
import json

import pytest
import torch
from safetensors.torch import load_file, save_file

from embpress import compress_model, inspect, load
from embpress.errors import UserError
from embpress.export.manifest import MANIFEST
from embpress.export.sentence_modules import MODULE_CLASS, MODULES
from tests.zoo import tiny

# The library takes seconds to import: only one worker does, and none does to collect the tests.
pytestmark = pytest.mark.xdist_group("sentence-transformers")
TEXTS = ["the cat", "dogs , cat the .", "a b c a b c a b c"]
PROMPTS = {"query": "the dog . ", "document": ""}


def library():
    return importlib.import_module("sentence_transformers")


def modules():
    return importlib.import_module("sentence_transformers.sentence_transformer.modules")


def load_encoder(folder):
    from embpress.integrations.sentence_transformers import load_sentence_transformer

    return load_sentence_transformer(folder, device="cpu")


@pytest.fixture
def dense(tmp_path, bert, wordpiece):
    """A sentence-transformers folder with every setting that could be lost."""
    bert.save_pretrained(tmp_path / "bert")
    wordpiece.save_pretrained(tmp_path / "bert")
    transformer = modules().Transformer(str(tmp_path / "bert"), max_seq_length=6)
    layers = [
        transformer,
        modules().Pooling(16, "cls", include_prompt=False),
        modules().Dense(16, 8),
        modules().Normalize(),
    ]
    model = library().SentenceTransformer(
        modules=layers, device="cpu", prompts=PROMPTS, similarity_fn_name="dot"
    )
    model.save_pretrained(str(tmp_path / "dense"))
    return model


def check_settings(model):
    assert type(model[0]).__name__ == "CompressedTransformer"
    assert model.max_seq_length == 6 and model.prompts == PROMPTS
    assert model.similarity_fn_name == "dot"
    assert model[1].pooling_mode == "cls" and not model[1].include_prompt
    assert [type(module).__name__ for module in model][1:] == ["Pooling", "Dense", "Normalize"]


def test_a_compressed_folder_encodes_as_the_dense_model(tmp_path, dense):
    compress_model(tmp_path / "dense", tmp_path / "out", "integer", 3, options={"bits": 8})
    model = load_encoder(tmp_path / "out")
    check_settings(model)
    for prompt_name in (None, "query"):
        expected = dense.encode(TEXTS, prompt_name=prompt_name)
        encoded = model.encode(TEXTS, prompt_name=prompt_name)
        assert encoded.shape == (3, 8)
        torch.testing.assert_close(encoded, expected, rtol=0, atol=0.02)
    plain, prompted = model.encode(TEXTS), model.encode(TEXTS, prompt_name="query")
    assert abs(plain - prompted).max() > 0.05


def test_a_named_table(tmp_path, dense):
    table = "embeddings.position_embeddings"
    compress_model(tmp_path / "dense", tmp_path / "out", "integer", 3, matrix=table)
    model = load_encoder(tmp_path / "out")
    check_settings(model)
    with torch.no_grad():
        decoded = load(tmp_path / "out").embedding_slot.matrix.dense()
        dense[0].auto_model.get_submodule(table).weight.copy_(decoded)
    torch.testing.assert_close(model.encode(TEXTS), dense.encode(TEXTS), rtol=0, atol=1e-5)
    model.save_pretrained(str(tmp_path / "again"))
    again = load_encoder(tmp_path / "again")
    torch.testing.assert_close(again.encode(TEXTS), model.encode(TEXTS))
    assert inspect(tmp_path / "again").replaced == [table]


def test_a_head_of_its_own_is_kept_beside_the_encoder(tmp_path, wordpiece):
    tiny("bert_mlm", vocab_size=len(wordpiece)).save_pretrained(tmp_path / "bert")
    wordpiece.save_pretrained(tmp_path / "bert")
    transformer = modules().Transformer(str(tmp_path / "bert"))
    pooling = modules().Pooling(16, "mean")
    library().SentenceTransformer(modules=[transformer, pooling], device="cpu").save_pretrained(
        str(tmp_path / "dense")
    )
    tiny("bert_mlm", vocab_size=len(wordpiece)).save_pretrained(tmp_path / "dense")
    compress_model(tmp_path / "dense", tmp_path / "out", "integer", 3, head="integer@2")
    model = load_encoder(tmp_path / "out")
    encoded = model.encode(TEXTS)
    model.save_pretrained(str(tmp_path / "again"))
    assert inspect(tmp_path / "again").head == inspect(tmp_path / "out").head is not None
    torch.testing.assert_close(load_encoder(tmp_path / "again").encode(TEXTS), encoded)


def test_the_hidden_states_are_those_of_load(tmp_path, dense):
    compress_model(tmp_path / "dense", tmp_path / "out", "svd", 1.5)
    features = dense[0].preprocess(TEXTS)
    model = load_encoder(tmp_path / "out")
    with torch.no_grad():
        states = model[0](dict(features))["token_embeddings"]
        expected = load(tmp_path / "out")(
            **{k: features[k] for k in ("input_ids", "attention_mask")}
        )
    torch.testing.assert_close(states, expected.last_hidden_state)


def test_it_is_saved_and_loaded_again(tmp_path, dense):
    compress_model(tmp_path / "dense", tmp_path / "out", "svd", 1.5)
    model = load_encoder(tmp_path / "out")
    model.save_pretrained(str(tmp_path / "again"))
    again = load_encoder(tmp_path / "again")
    check_settings(again)
    torch.testing.assert_close(again.encode(TEXTS), model.encode(TEXTS), rtol=0, atol=0)
    assert inspect(tmp_path / "again").embedding_ratio == inspect(tmp_path / "out").embedding_ratio


def test_the_librarys_own_call_opens_it_with_its_flag_only(tmp_path, dense):
    compress_model(tmp_path / "dense", tmp_path / "out", "svd", 1.5)
    name = str(tmp_path / "out")
    with pytest.raises(ValueError, match=MODULE_CLASS.rpartition(".")[2]):
        library().SentenceTransformer(name, device="cpu")
    model = library().SentenceTransformer(name, device="cpu", trust_remote_code=True)
    check_settings(model)
    expected = load_encoder(name).encode(TEXTS)
    torch.testing.assert_close(model.encode(TEXTS), expected, rtol=0, atol=0)


def test_a_language_model_runs_without_its_head_and_keeps_it(tmp_path, wordpiece):
    tiny("llama_tied").save_pretrained(tmp_path / "base")
    wordpiece.save_pretrained(tmp_path / "base")
    transformer = modules().Transformer(str(tmp_path / "base"))
    library().SentenceTransformer(
        modules=[transformer, modules().Pooling(16, "lasttoken")], device="cpu"
    ).save_pretrained(str(tmp_path / "dense"))
    # As Qwen3-Embedding is published: a causal architecture.
    tiny("llama_tied").save_pretrained(tmp_path / "dense")
    compress_model(tmp_path / "dense", tmp_path / "out", "identity", 1)
    model = load_encoder(tmp_path / "out")
    ids = {"input_ids": torch.tensor([[5, 6]]), "attention_mask": torch.ones(1, 2).long()}
    expected = tiny("llama_tied").model(**ids).last_hidden_state
    torch.testing.assert_close(model[0](dict(ids))["token_embeddings"], expected)
    model.save_pretrained(str(tmp_path / "again"))
    assert type(load(tmp_path / "again")).__name__ == "LlamaForCausalLM"


def test_the_transformer_may_be_in_a_subfolder(tmp_path, dense):
    """As in folders of early versions."""
    folder = tmp_path / "dense"
    (folder / "0_Transformer").mkdir()
    moved = ("config.json", "model.safetensors", "sentence_bert_config.json")
    for name in (*moved, "tokenizer.json", "tokenizer_config.json"):
        (folder / name).rename(folder / "0_Transformer" / name)
    entries = json.loads((folder / MODULES).read_text())
    entries[0]["path"] = "0_Transformer"
    (folder / MODULES).write_text(json.dumps(entries))
    compress_model(folder, tmp_path / "out", "identity", 1)
    model = load_encoder(tmp_path / "out")
    check_settings(model)
    torch.testing.assert_close(model.encode(TEXTS), dense.encode(TEXTS))


def test_the_manifest_lists_the_modules_and_the_folder_is_replaced(tmp_path, dense):
    for method in ("svd", "integer"):
        compress_model(tmp_path / "dense", tmp_path / "out", method, 1.5)
    listed = json.loads((tmp_path / "out" / MANIFEST).read_text())["sha256"]
    assert {MODULES, "1_Pooling/config.json", "2_Dense/model.safetensors"} <= listed.keys()
    weights = load_file(tmp_path / "out/2_Dense/model.safetensors")
    save_file({k: v + 1 for k, v in weights.items()}, tmp_path / "out/2_Dense/model.safetensors")
    with pytest.raises(UserError, match=r"2_Dense/model\.safetensors was altered"):
        load(tmp_path / "out")
    (tmp_path / "out/1_Pooling/notes.txt").write_text("mine")
    with pytest.raises(UserError, match=r"1_Pooling/notes\.txt.*another folder"):
        compress_model(tmp_path / "dense", tmp_path / "out", "svd", 1.5)


def test_modules_that_cannot_be_carried_over_are_refused(tmp_path, dense):
    folder = tmp_path / "dense"
    entries = json.loads((folder / MODULES).read_text())

    def refused(message, index, **changes):
        changed = [dict(entry) for entry in entries]
        changed[index].update(changes)
        (folder / MODULES).write_text(json.dumps(changed))
        with pytest.raises(UserError, match=message):
            compress_model(folder, tmp_path / "out", "identity", 1)
        assert not (tmp_path / "out").exists()

    refused("custom_st.Pooling.*no code", 1, type="custom_st.Pooling")
    refused("StaticEmbedding", 0, type="sentence_transformers.models.StaticEmbedding")
    refused("leads out of the folder", 1, path="../1_Pooling")
    (folder / "2_Dense/model.safetensors").rename(folder / "2_Dense/pytorch_model.bin")
    refused(r"pytorch_model\.bin is a pickle.*safetensors", 1)
    (folder / "2_Dense/inner").mkdir()
    refused("modules of its own", 1)
