"""The embedding in GGUF and compressed-tensors, read by the packages of these formats."""

import json

import gguf
import pytest
import torch
from safetensors.torch import load_file
from transformers import BertConfig, BertModel

from embpress import compress_model, load
from embpress.cli import main
from tests.zoo import tiny

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
    assert (summary["type"], summary["bytes"]) == (kind, tensor.n_bytes)
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
        ("svd", {}, 64, "--gguf", "--method integer"),
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
    for folder, message in (("packed", "cls.predictions.decoder"), ("dense", "exists")):
        words = ["export", str(tmp_path / "out"), "--compressed-tensors", str(tmp_path / folder)]
        assert main(words) == 1 and message in capsys.readouterr().err
