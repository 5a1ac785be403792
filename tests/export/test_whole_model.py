"""Whole models in one folder: every matrix is coded, counted, inspected and decoded."""

import json
import shutil

import pytest
import torch
from safetensors.torch import load_file, save_file

import embpress
from embpress import storage
from embpress.cli import main
from embpress.errors import InfeasibleRatio, UserError
from embpress.export.stored_layers import LAYER_LIST, LAYER_TENSORS, read_layer_list
from embpress.files import sha256_of
from embpress.models.embedding import OTHER_WEIGHTS

from ..zoo import V, outputs, tiny

KINDS = ["bert_classifier", "gpt2", "llama_tied", "llama_untied", "electra", "deberta_v2", "bart"]


def dense(folder, name="bert_classifier"):
    """A saved model of the zoo with a tokenizer of its V words."""
    model = tiny(name)
    model.save_pretrained(folder)
    vocab = {token: i for i, token in enumerate(["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]"])}
    vocab |= {f"w{i}": i for i in range(len(vocab), V)}
    from tokenizers import Tokenizer, models, pre_tokenizers
    from transformers import PreTrainedTokenizerFast

    backend = Tokenizer(models.WordLevel(vocab, "[UNK]"))
    backend.pre_tokenizer = pre_tokenizers.Whitespace()
    tokenizer = PreTrainedTokenizerFast(
        tokenizer_object=backend, pad_token="[PAD]", unk_token="[UNK]", mask_token="[MASK]"
    )
    tokenizer.save_pretrained(folder)
    return model


@pytest.fixture(scope="module")
def compressed(tmp_path_factory):
    """A compressed classifier, and what was reported."""
    root = tmp_path_factory.mktemp("whole")
    model = dense(root / "dense")
    texts = [f"w{5 + i % 9} w{6 + i % 7} w9 w{7 + i % 3}" for i in range(40)]
    summary = embpress.compress_whole_model(
        root / "dense", root / "compressed", 3, calibration=texts
    )
    return root, model, summary


@pytest.mark.parametrize("name", KINDS)
def test_models_of_every_kind_run_on_their_decoded_matrices(tmp_path, name):
    model = tiny(name)
    model.save_pretrained(tmp_path / "dense")
    summary = embpress.compress_whole_model(tmp_path / "dense", tmp_path / "compressed", 1.5)
    loaded = embpress.load(tmp_path / "compressed")
    assert summary.ratio >= 1.5
    torch.testing.assert_close(outputs(loaded), outputs(model), rtol=0.05, atol=0.05)
    named = {name for layer in read_layer_list(tmp_path / "compressed") for name in layer.weights}
    linears = [n for n, m in model.named_modules() if type(m) is torch.nn.Linear]
    tied = {f"{n}.weight" for n in linears if model.get_submodule(n).weight.numel() >= 256}
    tied -= {f"{head}.weight" for head in loaded.embedding_slot.heads}
    assert tied <= named


def test_bits_are_those_of_the_stored_tensors(compressed):
    root, model, summary = compressed
    folder = root / "compressed"
    files = (OTHER_WEIGHTS, LAYER_TENSORS, storage.TENSORS)
    stored = sum(tensor.nbytes for file in files for tensor in load_file(folder / file).values())
    assert stored == summary.model_after
    parameters = sum(parameter.numel() for parameter in model.parameters())
    assert summary.ratio == pytest.approx(4 * parameters / stored)
    assert summary.ratio >= 3
    assert summary.calibration_texts == 40
    assert all(t.dtype == torch.float16 for t in load_file(folder / OTHER_WEIGHTS).values())


def test_every_layer_is_decoded_exactly(compressed):
    root = compressed[0]
    model = embpress.load(root / "compressed")
    packed = load_file(root / "compressed" / LAYER_TENSORS)
    layers = read_layer_list(root / "compressed")
    assert len(layers) > 6
    for layer in layers:
        matrix = storage.unpack(layer.header, packed[layer.name], root)
        assert torch.equal(storage.pack(matrix), packed[layer.name])
        (weight,) = layer.weights
        assert torch.equal(model.get_parameter(weight), matrix.dense())


def test_inspect_lists_every_matrix(compressed, capsys):
    root, _, summary = compressed
    inspection = embpress.inspect(root / "compressed")
    assert inspection.model_after == summary.model_after
    sizes = {layer.name: layer.bytes for layer in inspection.layers}
    assert sizes == {m.name: m.bits // 8 for m in summary.matrices if m.name != "embedding"}
    assert main(["inspect", str(root / "compressed")]) == 0
    printed = capsys.readouterr().out
    assert all(name in printed for name in sizes)


def test_a_saved_copy_of_a_loaded_model_gives_the_same_outputs(compressed, tmp_path):
    model = embpress.load(compressed[0] / "compressed")
    model.save_pretrained(tmp_path / "copy")
    assert torch.equal(outputs(embpress.load(tmp_path / "copy")), outputs(model))


def test_the_command_line_compresses_and_reports(compressed, tmp_path, capsys):
    root, _, _ = compressed
    (tmp_path / "texts.txt").write_text("w5 w6 w7\n\nw8 w9 w10 w11\n")
    command = ["compress", "--model", str(root / "dense"), "--method", "ectcq", "--matrices", "all"]
    command += ["--ratio", "3", "--calibration", str(tmp_path / "texts.txt")]
    assert main([*command, "--out", str(tmp_path / "out"), "--json"]) == 0
    printed = json.loads(capsys.readouterr().out)
    assert printed["ratio"] >= 3
    assert printed["calibration_texts"] == 2
    assert main([*command, "--out", str(tmp_path / "out")]) == 0
    assert "bits per weight" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["--method", "svd", "--matrices", "all"], ("svd", "ectcq", "modules")),
        (["--method", "ectcq", "--calibration", "texts"], ("--calibration", "--matrices all")),
        (
            ["--method", "ectcq", "--matrices", "all", "--option", "basis=none"],
            ("basis", "feedback"),
        ),
        (["--method", "ectcq", "--matrices", "all", "--calibration", "none.txt"], ("none.txt",)),
    ],
)
def test_the_command_line_refuses(compressed, tmp_path, capsys, arguments, words):
    command = ["compress", "--model", str(compressed[0] / "dense"), "--ratio", "3", *arguments]
    assert main([*command, "--out", str(tmp_path / "out")]) == 1
    message = capsys.readouterr().err
    assert all(word in message for word in words)
    assert not (tmp_path / "out").exists()


def test_ratios_that_cannot_be_reached_are_refused(compressed, tmp_path):
    root = compressed[0]
    with pytest.raises(InfeasibleRatio, match="ratio below"):
        embpress.compress_whole_model(root / "dense", tmp_path / "out", 1000)
    with pytest.raises(UserError, match="below 1"):
        embpress.compress_whole_model(root / "dense", tmp_path / "out", 0.5)
    with pytest.raises(UserError, match="a text a line"):
        embpress.compress_whole_model(root / "dense", tmp_path / "out", 3, calibration=[" "])
    shutil.copytree(root / "dense", tmp_path / "bare")
    for file in (tmp_path / "bare").glob("tokenizer*"):
        file.unlink()
    with pytest.raises(UserError, match="tokenizer"):
        embpress.compress_whole_model(tmp_path / "bare", tmp_path / "out", 3, calibration=["w5"])


def test_weights_that_are_not_finite_are_refused_by_name(tmp_path):
    model = tiny("bert")
    with torch.no_grad():
        model.encoder.layer[0].output.dense.weight[1, 2] = float("nan")
    model.save_pretrained(tmp_path / "dense")
    with pytest.raises(UserError, match=r"output\.dense.*row 1"):
        embpress.compress_whole_model(tmp_path / "dense", tmp_path / "out", 2)


def rehashed(folder):
    """Let the manifest agree with altered files."""
    manifest = json.loads((folder / "embpress.json").read_text())
    manifest["sha256"] = {name: sha256_of(folder / name) for name in manifest["sha256"]}
    (folder / "embpress.json").write_text(json.dumps(manifest))


@pytest.mark.parametrize("damage", ["stream", "short", "list", "shape", "missing"])
def test_damaged_layers_are_refused(compressed, tmp_path, damage):
    folder = tmp_path / "damaged"
    shutil.copytree(compressed[0] / "compressed", folder)
    listed = json.loads((folder / LAYER_LIST).read_text())
    packed = load_file(folder / LAYER_TENSORS)
    first = listed["layers"][0]
    if damage == "stream":  # the length of the first part
        packed[first["name"]][18:20] = 255
    elif damage == "short":
        packed[first["name"]] = packed[first["name"]][:-1]
    elif damage == "list":
        first["header"]["format"] = 7
    elif damage == "shape":
        first["header"]["shape"] = [5, 5]
    else:
        del listed["layers"][0]
    (folder / LAYER_LIST).write_text(json.dumps(listed))
    save_file(packed, folder / LAYER_TENSORS)
    rehashed(folder)
    with pytest.raises(UserError, match="compress it again|there is no format"):
        embpress.load(folder)
