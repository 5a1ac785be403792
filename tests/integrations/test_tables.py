"""Matrices in GGUF and compressed-tensors, read by the packages of these formats."""

import json
import re

import gguf
import pytest
import torch
from safetensors.torch import load_file
from transformers import AutoConfig, BertConfig, BertModel

from embpress import compress_model, load
from embpress.cli import main
from embpress.errors import UserError
from embpress.integrations import gguf_table
from tests.zoo import outputs, tiny

CASES = {
    "int8": ("integer", 3, {"bits": 8}, "Q8_0", 8),
    "int5": ("integer", 3, {"bits": 5}, "Q5_0", 5),
    "int4": ("integer", 3, {"bits": 4}, "Q4_0", 4),
    "int4 groups": ("integer", 3, {"bits": 4, "group": 32}, "Q4_0", 4),
    "int3": ("integer", 3, {"bits": 3}, "Q4_0", 4),
    "two widths": ("integer", 5, {}, "Q8_0", 8),
}


def folder_of(tmp_path, method, ratio, options, d=64):
    torch.manual_seed(0)
    sizes = {"hidden_size": d, "num_hidden_layers": 1, "num_attention_heads": 2}
    config = BertConfig(vocab_size=100, intermediate_size=32, **sizes)
    BertModel(config).save_pretrained(tmp_path / "dense")
    compress_model(tmp_path / "dense", tmp_path / "out", method, ratio, options=options)
    return str(tmp_path / "out")


def folder_of_zoo(tmp_path, name, sizes, **how):
    """A compressed model of the zoo with integer rows that are a multiple of 32 long."""
    tiny(name, **sizes).save_pretrained(tmp_path / "dense")
    how = {"ratio": 3, "options": {"bits": 8}} | how
    compress_model(tmp_path / "dense", tmp_path / "out", "integer", **how)
    return str(tmp_path / "out")


def dequantized(file):
    """All tensors of a GGUF file, by name."""
    return {
        tensor.name: torch.from_numpy(gguf.quants.dequantize(tensor.data, tensor.tensor_type))
        for tensor in gguf.GGUFReader(file).tensors
    }


def decompressed(folder):
    """Weights of a folder of compressed-tensors, with its quantized ones decompressed."""
    from compressed_tensors.compressors import PackedQuantizationCompressor
    from compressed_tensors.quantization import QuantizationConfig

    weights = load_file(folder / "model.safetensors")
    config = json.loads((folder / "config.json").read_text())["quantization_config"]
    for scheme in QuantizationConfig.model_validate(config).config_groups.values():
        (target,) = scheme.targets
        (name,) = {
            key.rpartition(".")[0]
            for key in weights
            if re.match(target.removeprefix("re:"), key.rpartition(".")[0])
        }
        names = [key for key in weights if key.startswith(f"{name}.weight_")]
        packed = {key.removeprefix(f"{name}."): weights.pop(key) for key in names}
        values = PackedQuantizationCompressor.decompress(packed, scheme)
        weights[f"{name}.weight"] = values["weight"]
    return weights


def rows_of(folder):
    return load(folder).embedding_slot.matrix.dense()


@pytest.mark.parametrize("case", CASES)
def test_the_reader_of_gguf_finds_the_same_values(tmp_path, case, capsys):
    method, ratio, options, kind, _ = CASES[case]
    folder = folder_of(tmp_path, method, ratio, options)
    file = tmp_path / "table.gguf"
    assert main(["export", folder, "--gguf", str(file), "--json"]) == 0
    summary = json.loads(capsys.readouterr().out)
    reader = gguf.GGUFReader(file)
    (tensor,) = reader.tensors
    assert (tensor.name, tensor.tensor_type.name) == ("token_embd.weight", kind)
    (table,) = summary["tables"]
    assert (table["type"], table["bytes"]) == (kind, tensor.n_bytes)
    assert reader.fields["embpress.method"].contents() == method
    values = torch.from_numpy(gguf.quants.dequantize(tensor.data, tensor.tensor_type))
    assert torch.equal(values, rows_of(folder))


@pytest.mark.parametrize("kind", ["q8_0", "q4_0"])
def test_blocks_of_gguf_are_written_as_they_are(tmp_path, kind):
    folder = folder_of(tmp_path, "gguf", 3, {"type": kind})
    assert main(["export", folder, "--gguf", str(tmp_path / "table.gguf")]) == 0
    (tensor,) = gguf.GGUFReader(tmp_path / "table.gguf").tensors
    stored = load_file(tmp_path / "out/matrix.safetensors")["blocks"]
    assert tensor.tensor_type.name == kind.upper()
    assert torch.equal(torch.from_numpy(tensor.data.copy()), stored)


@pytest.mark.parametrize("case", CASES)
def test_compressed_tensors_decompresses_the_same_values(tmp_path, case):
    from compressed_tensors.compressors import PackedQuantizationCompressor
    from compressed_tensors.quantization import QuantizationConfig

    method, ratio, options, _, width = CASES[case]
    folder = folder_of(tmp_path, method, ratio, options)
    out = tmp_path / "packed"
    assert main(["export", folder, "--compressed-tensors", str(out)]) == 0
    config = json.loads((out / "config.json").read_text())["quantization_config"]
    scheme = QuantizationConfig.model_validate(config).config_groups["group_0"]
    assert config["format"] == "pack-quantized" and scheme.weights.num_bits == width
    weights = load_file(out / "model.safetensors")
    name = "embeddings.word_embeddings."
    packed = {k.removeprefix(name): weights.pop(k) for k in [*weights] if k.startswith(name)}
    n_words = -(-64 * width // 32)
    assert packed["weight_packed"].shape == (100, n_words)
    values = PackedQuantizationCompressor.decompress(packed, scheme)["weight"]
    assert torch.equal(values, rows_of(folder))
    dense = load_file(tmp_path / "dense/model.safetensors")
    assert all(torch.equal(value, dense[key]) for key, value in weights.items())
    assert weights.keys() == dense.keys() - {f"{name}weight"}


@pytest.mark.parametrize(
    "method, options, d, words, message",
    [
        ("svd", {}, 64, "--gguf", "embeddings.word_embeddings is stored as low_rank"),
        ("grouped_integer", {}, 64, "--compressed-tensors", "minima"),
        ("integer", {"bits": 8}, 48, "--gguf", "multiple of 32"),
        ("integer", {"bits": 8, "group": 16}, 64, "--gguf", "group=32"),
    ],
)
def test_what_a_format_cannot_hold_is_refused(tmp_path, capsys, method, options, d, words, message):
    folder = folder_of(tmp_path, method, 2, options, d)
    capsys.readouterr()
    assert main(["export", folder, words, str(tmp_path / "file")]) == 1
    error = capsys.readouterr().err
    assert message in error and error.count("\n") == 1
    assert not (tmp_path / "file").exists() and not list(tmp_path.glob(".*"))


def test_a_tied_head_and_a_folder_that_exists_are_refused(tmp_path, capsys):
    tiny("bert_mlm").save_pretrained(tmp_path / "dense")
    compress_model(tmp_path / "dense", tmp_path / "out", "integer", 3)
    for folder, messages in (
        ("packed", ["cls.predictions.decoder", "--head"]),
        ("dense", ["exists"]),
    ):
        words = ["export", str(tmp_path / "out"), "--compressed-tensors", str(tmp_path / folder)]
        assert main(words) == 1
        error = capsys.readouterr().err
        assert all(message in error for message in messages)


HEADS = {"bert_mlm": dict(hidden_size=32), "llama_tied": dict(hidden_size=32)}


@pytest.mark.parametrize("name", HEADS)
def test_gguf_holds_a_head_of_its_own_as_output(tmp_path, name):
    folder = folder_of_zoo(tmp_path, name, HEADS[name], head="integer@6")
    assert main(["export", folder, "--gguf", str(tmp_path / "table.gguf")]) == 0
    tables = dequantized(tmp_path / "table.gguf")
    slot = load(folder).embedding_slot
    assert tables.keys() == {"token_embd.weight", "output.weight"}
    assert torch.equal(tables["token_embd.weight"], slot.matrix.dense())
    assert torch.equal(tables["output.weight"], slot.own_head.dense())
    assert not torch.equal(slot.matrix.dense(), slot.own_head.dense())


@pytest.mark.parametrize("name", HEADS)
def test_a_dense_model_with_the_decompressed_head_has_the_same_outputs(tmp_path, name):
    folder = folder_of_zoo(tmp_path, name, HEADS[name], head="integer@6")
    packed = tmp_path / "packed"
    assert main(["export", folder, "--compressed-tensors", str(packed)]) == 0
    config = AutoConfig.from_pretrained(packed)
    assert not config.tie_word_embeddings and len(config.quantization_config["config_groups"]) == 2
    del config.quantization_config
    loaded = load(folder)
    dense_class = type(loaded).__mro__[2]
    model = dense_class.from_pretrained(None, config=config, state_dict=decompressed(packed)).eval()
    torch.testing.assert_close(outputs(model), outputs(loaded))


def test_a_head_without_integer_codes_is_named(tmp_path, capsys):
    folder = folder_of_zoo(tmp_path, "llama_tied", HEADS["llama_tied"], head="svd@1.5")
    for words in ("--gguf", "--compressed-tensors"):
        assert main(["export", folder, words, str(tmp_path / "file")]) == 1
        assert "lm_head is stored as low_rank" in capsys.readouterr().err


TABLES = {
    "per layer": (
        *("gemma3n", dict(hidden_size_per_layer_input=16), "model.embed_tokens_per_layer"),
        "per_layer_token_embd.weight",
    ),
    "positions": (
        *("bert_mlm", dict(hidden_size=32), "bert.embeddings.position_embeddings"),
        "position_embd.weight",
    ),
    "another": (
        *("clip_text", dict(hidden_size=32), "embeddings.position_embedding"),
        "embeddings.position_embedding.weight",
    ),
}


@pytest.mark.parametrize("case", TABLES)
def test_a_named_table_is_written_under_its_own_name(tmp_path, case):
    name, sizes, table, tensor = TABLES[case]
    folder = folder_of_zoo(tmp_path, name, sizes, matrix=table)
    assert main(["export", folder, "--gguf", str(tmp_path / "table.gguf")]) == 0
    tables = dequantized(tmp_path / "table.gguf")
    assert tables.keys() == {tensor} and torch.equal(tables[tensor], rows_of(folder))
    packed = tmp_path / "packed"
    assert main(["export", folder, "--compressed-tensors", str(packed)]) == 0
    weights = decompressed(packed)
    assert torch.equal(weights.pop(f"{table}.weight"), rows_of(folder))
    dense = load_file(tmp_path / "dense/model.safetensors")
    assert weights and all(torch.equal(value, dense[key]) for key, value in weights.items())


def test_a_name_that_gguf_cannot_hold_is_refused():
    with pytest.raises(UserError, match="63 bytes"):
        gguf_table._tensor_name(tiny("bert"), "model." + "x" * 60)
