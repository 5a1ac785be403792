import copy
import json
import math
import resource

import pytest
import torch
import transformers
from torch import nn
from transformers import AutoModel, BertConfig, BertModel, ViTConfig

from embpress import compress_model, inspect, load, storage
from embpress.errors import UserError
from embpress.export.compress import check_lookup
from embpress.export.manifest import MANIFEST
from embpress.files import sha256_of
from embpress.formats.constant import ConstantRows
from embpress.models.embedding import OTHER_WEIGHTS, find_embedding, lookup_scale
from embpress.safetensors_header import read_header
from tests.zoo import ZOO, outputs, tiny


@pytest.mark.parametrize("name", ZOO)
def test_an_identical_matrix_gives_identical_outputs(tmp_path, name):
    model = tiny(name)
    model.save_pretrained(tmp_path / "dense")
    compress_model(tmp_path / "dense", tmp_path / "out", "identity", 1)
    loaded = load(tmp_path / "out")
    assert type(loaded).__name__ == type(model).__name__ and isinstance(loaded, type(model))
    torch.testing.assert_close(outputs(loaded), outputs(model))


@pytest.mark.parametrize("name", ZOO)
def test_outputs_are_those_of_the_decoded_matrix_in_the_dense_model(tmp_path, name):
    model = tiny(name)
    model.save_pretrained(tmp_path / "dense")
    compress_model(tmp_path / "dense", tmp_path / "out", "svd", 1.5)
    loaded = load(tmp_path / "out")
    with torch.no_grad():
        find_embedding(model)[1].weight.copy_(loaded.embedding_slot.matrix.dense())
    torch.testing.assert_close(outputs(loaded), outputs(model), rtol=1e-4, atol=1e-5)


def folder_of(tmp_path, name="bert_mlm", method="svd", ratio=1.5, **changes):
    """A tiny model, compressed."""
    tiny(name, **changes).save_pretrained(tmp_path / "dense")
    compress_model(tmp_path / "dense", tmp_path / "out", method, ratio)
    return tmp_path / "out"


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16])
@pytest.mark.parametrize("name", ["bert_mlm", "gemma3", "bart_scaled", "llama_tied"])
def test_half_precision_models_stay_so(tmp_path, name, dtype):
    tiny(name).to(dtype).save_pretrained(tmp_path / "dense")
    done = compress_model(tmp_path / "dense", tmp_path / "out", "identity", 1)
    model = type(tiny(name)).from_pretrained(tmp_path / "dense", dtype=dtype)
    loaded_outputs = outputs(load(tmp_path / "out"))
    assert loaded_outputs.dtype == dtype and done.embedding_before == 2 * math.prod(done.shape)
    torch.testing.assert_close(loaded_outputs, outputs(model), rtol=0.02, atol=0.05)


def test_shards_are_read_and_one_file_is_written(tmp_path):
    model = tiny("llama_untied")
    model.save_pretrained(tmp_path / "dense", max_shard_size="4KB")
    assert (tmp_path / "dense/model.safetensors.index.json").exists()
    compress_model(tmp_path / "dense", tmp_path / "out", "identity", 1)
    torch.testing.assert_close(outputs(load(tmp_path / "out")), outputs(model))


def test_an_untied_head_stays_dense_and_a_tied_one_is_stored_once(tmp_path):
    untied, tied = (
        read_header(folder_of(tmp_path / n, n) / OTHER_WEIGHTS).tensors
        for n in ("llama_untied", "llama_tied")
    )
    assert "lm_head.weight" in untied and "lm_head.weight" not in tied
    assert not any("embed_tokens" in name for name in untied | tied)


@pytest.mark.parametrize("name", ["bert_mlm", "llama_tied", "t5"])
def test_a_loaded_model_is_exported_again(tmp_path, name):
    model = load(folder_of(tmp_path, name))
    with torch.no_grad():
        next(model.parameters()).add_(0.5)  # as training of the other weights would
    model.save_pretrained(tmp_path / "again")
    again = load(tmp_path / "again")
    torch.testing.assert_close(outputs(again), outputs(model), rtol=0, atol=0)
    again.save_pretrained(tmp_path / "again")
    assert inspect(tmp_path / "again").embedding_ratio == inspect(tmp_path / "out").embedding_ratio


def test_saving_again_leaves_a_tokenizer_beside_it(tmp_path):
    model = load(folder_of(tmp_path))
    for _ in range(2):
        model.save_pretrained(tmp_path / "again")
        (tmp_path / "again/tokenizer.json").write_text("{}")
    torch.testing.assert_close(outputs(load(tmp_path / "again")), outputs(model), rtol=0, atol=0)
    assert not list(tmp_path.glob(".*"))


def test_what_saving_does_not_offer_is_refused(tmp_path):
    model = load(folder_of(tmp_path))
    with pytest.raises(UserError, match="without push_to_hub"):
        model.save_pretrained(tmp_path / "again", push_to_hub=True)
    with pytest.raises(UserError, match=r"model\.safetensors.*another folder"):
        model.save_pretrained(tmp_path / "dense")
    assert not (tmp_path / "again").exists()


def test_a_folder_with_a_users_files_is_not_replaced(tmp_path):
    folder = folder_of(tmp_path)
    compress_model(tmp_path / "dense", folder, "integer", 2)
    (folder / "notes.txt").write_text("mine")
    with pytest.raises(UserError, match=r"notes\.txt.*another folder"):
        compress_model(tmp_path / "dense", folder, "integer", 2)
    assert inspect(folder).method == "integer"


def test_transformers_alone_finds_no_weights_rather_than_random_ones(tmp_path):
    folder = folder_of(tmp_path)
    with pytest.raises(OSError, match="no file named"):
        AutoModel.from_pretrained(folder)


def test_a_compressed_embedding_cannot_be_resized(tmp_path):
    with pytest.raises(UserError, match="resize the model"):
        load(folder_of(tmp_path)).resize_token_embeddings(5)


def test_generation_runs_on_the_tied_matrix(tmp_path):
    model = tiny("gpt2")
    model.save_pretrained(tmp_path / "dense")
    compress_model(tmp_path / "dense", tmp_path / "out", "identity", 1)
    ids = torch.tensor([[3, 5, 7]])
    options = dict(max_new_tokens=4, do_sample=False)
    assert torch.equal(
        load(tmp_path / "out").generate(ids, **options), model.generate(ids, **options)
    )


class Countless(ConstantRows):
    """A matrix of very many rows, whose full read raises."""

    format = "countless"

    def rows(self, ids):
        assert ids.numel() < 100, "the whole table was decoded"
        return super().rows(ids)

    def dense(self):
        raise AssertionError("the whole table was built")


def test_nothing_of_the_size_of_the_dense_matrix_is_allocated(tmp_path, monkeypatch):
    """A model of 10^12 x 16 floats, 64 TB, loads and runs as if it were small."""
    folder = folder_of(tmp_path, "bert")
    vast = (10**12, 16)
    monkeypatch.setattr(storage, "format_class", lambda name: {"countless": Countless}[name])
    storage.save(Countless(vast, torch.ones(16)), folder)
    config = json.loads((folder / "config.json").read_text())
    (folder / "config.json").write_text(json.dumps(config | {"vocab_size": vast[0]}))
    reseal(folder)
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    model = load(folder)
    with torch.no_grad():
        assert model(input_ids=torch.tensor([[0, 10**12 - 1]])).last_hidden_state.shape == (
            1,
            2,
            16,
        )
    assert resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before < 200_000  # kilobytes


def reseal(folder):
    """Update the SHA-256 of altered files, as a forger would."""
    about = json.loads((folder / MANIFEST).read_text())
    about["sha256"] = {
        name: sha256_of(folder / name) for name in about["sha256"] if (folder / name).exists()
    }
    (folder / MANIFEST).write_text(json.dumps(about))


def test_a_loaded_model_can_be_copied(tmp_path):
    model = load(folder_of(tmp_path))
    copied = copy.deepcopy(model)
    torch.testing.assert_close(outputs(copied), outputs(model), rtol=0, atol=0)


def test_other_weights_can_be_trained(tmp_path):
    model = load(folder_of(tmp_path)).train()
    ids = torch.tensor([[3, 5, 5, 9]])
    model(input_ids=ids, labels=ids).loss.backward()
    assert all(p.grad is not None for n, p in model.named_parameters() if "encoder" in n)


@pytest.mark.parametrize(
    "kind, config, sentence",
    [
        (
            "BertForMaskedLM",
            BertConfig(**ZOO["bert"][2], quantization_config={"quant_method": "awq", "bits": 4}),
            "quantized",
        ),
        (
            "ViTModel",
            ViTConfig(
                hidden_size=16, num_hidden_layers=1, num_attention_heads=2, intermediate_size=32
            ),
            "no input embedding",
        ),
    ],
)
def test_what_is_not_supported_says_so(tmp_path, kind, config, sentence):
    plain = copy.deepcopy(config)
    plain.__dict__.pop("quantization_config", None)
    getattr(transformers, kind)(plain).save_pretrained(tmp_path / "dense")
    text = config.to_dict() | {"architectures": [kind]}
    (tmp_path / "dense/config.json").write_text(json.dumps(text))
    with pytest.raises(UserError, match=sentence):
        compress_model(tmp_path / "dense", tmp_path / "out", "svd", 1.5)
    assert not (tmp_path / "out").exists()


def test_a_model_that_reads_its_whole_embedding_is_refused_before_anything_is_written(
    tmp_path, monkeypatch
):
    def forward(self, input_ids):
        return input_ids @ self.embeddings.word_embeddings.weight

    tiny("bert").save_pretrained(tmp_path / "dense")
    monkeypatch.setattr(BertModel, "forward", forward)
    with pytest.raises(UserError, match="its dense embedding"):
        compress_model(tmp_path / "dense", tmp_path / "out", "svd", 1.5)
    assert not (tmp_path / "out").exists()


def test_a_compressed_embedding_has_no_dense_weight(tmp_path):
    embedding = load(folder_of(tmp_path)).get_input_embeddings()
    weight = embedding.weight
    assert (weight.shape, weight.dtype, weight.device.type) == ((23, 16), torch.float32, "cpu")
    for compute in (lambda: weight + 1, lambda: weight.T, weight.sum):
        with pytest.raises(UserError, match="cannot be compressed"):
            compute()


def test_an_embedding_that_does_more_than_look_up_is_refused():
    class Odd(nn.Embedding):
        def forward(self, ids):
            return super().forward(ids).relu()

    with pytest.raises(UserError, match="Odd.*more than look rows up"):
        lookup_scale(Odd(3, 2))
    with pytest.raises(UserError, match="more than look rows up"):
        lookup_scale(nn.Embedding(3, 2, max_norm=1.0))


def test_an_embedding_that_is_not_what_its_name_says_is_refused():
    class OddScaledWordEmbedding(nn.Embedding):
        embed_scale = 2.0

        def forward(self, ids):
            return super().forward(ids) * 3.0

    with pytest.raises(UserError, match="OddScaledWordEmbedding.*more"):
        check_lookup(OddScaledWordEmbedding(9, 2))
