import json
import math

import pytest
import torch

from embpress import compress_model, compress_whole_model, load
from embpress.cli import main
from embpress.errors import UserError
from embpress.methods import compress
from tests.zoo import tiny

# Importing onnx and torch's exporter takes seconds: only one worker does.
pytestmark = pytest.mark.xdist_group("onnx")


def export(folder, file, **options):
    from embpress.integrations.onnx.export import export_onnx

    return export_onnx(folder, file, **options)


def run(file, inputs):
    import onnxruntime

    session = onnxruntime.InferenceSession(file, providers=["CPUExecutionProvider"])
    return torch.from_numpy(session.run(None, {k: v.numpy() for k, v in inputs.items()})[0])


def test_a_bert_encoder_runs_end_to_end(tmp_path, bert, wordpiece):
    bert.save_pretrained(tmp_path / "dense")
    wordpiece.save_pretrained(tmp_path / "dense")
    compress_model(tmp_path / "dense", tmp_path / "out", "svd", 1.2)
    summary = export(tmp_path / "out", tmp_path / "model.onnx")
    assert summary.output == "last_hidden_state" and not summary.is_recoded
    assert summary.difference <= 1e-5
    assert summary.embedding_bytes == summary.counted_bytes
    assert summary.file_bytes == (tmp_path / "model.onnx").stat().st_size
    texts = ["the cat , the dog", "a", "abc"]
    inputs = dict(wordpiece(texts, return_tensors="pt", padding=True))
    assert set(summary.inputs) <= inputs.keys()
    with torch.no_grad():
        expected = load(tmp_path / "out")(**inputs).last_hidden_state
    states = run(tmp_path / "model.onnx", {name: inputs[name] for name in summary.inputs})
    torch.testing.assert_close(states, expected, rtol=1e-5, atol=1e-5)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["dense", "model.onnx", "out"]


def test_a_tied_head_and_a_format_without_operators(tmp_path, capsys):
    tiny("bert_mlm").save_pretrained(tmp_path / "dense")
    compress_model(tmp_path / "dense", tmp_path / "out", "turboquant", 3)
    file = tmp_path / "model.onnx"
    capsys.readouterr()
    assert main(["export", str(tmp_path / "out"), "--onnx", str(file), "--json"]) == 0
    summary = json.loads(capsys.readouterr().out)
    assert summary["decoded_layers"] == summary["decoded_bytes"] == 0
    assert summary["is_recoded"] and summary["format"] == "integer_rows"
    assert summary["output"] == "logits"
    ids = torch.tensor([[3, 4, 5]])
    values = {"input_ids": ids, "attention_mask": ids > 0, "token_type_ids": ids * 0}
    inputs = {name: values[name].long() for name in summary["inputs"]}
    with torch.no_grad():
        expected = load(tmp_path / "out")(**inputs).logits
    # Rows are rounded to int8 once more.
    torch.testing.assert_close(run(file, inputs), expected, rtol=0, atol=0.02)


OWN = {
    "causal, two matrices": ("llama_tied", dict(head="integer@3"), "integer_rows", False),
    "masked, recoded head": ("bert_mlm", dict(head="turboquant@3"), "integer_rows", True),
    "positions": ("bert_mlm", dict(matrix="bert.embeddings.position_embeddings"), None, False),
}


def test_layers_of_a_whole_model_are_dense_and_counted(tmp_path, capfd):
    tiny("bert").save_pretrained(tmp_path / "dense")
    compressed = compress_whole_model(tmp_path / "dense", tmp_path / "out", 2)
    capfd.readouterr()
    summary = export(tmp_path / "out", tmp_path / "model.onnx")
    assert not capfd.readouterr().err  # such as that torchvision is not installed
    layers = [matrix for matrix in compressed.matrices if matrix.name != "embedding"]
    assert summary.decoded_layers == len(layers) > 2
    assert summary.decoded_bytes == 4 * sum(math.prod(matrix.shape) for matrix in layers)
    assert f"{summary.decoded_bytes:,} bytes" in summary.render()
    assert summary.file_bytes > summary.decoded_bytes


@pytest.mark.parametrize("case", OWN)
def test_a_head_of_its_own_and_named_tables(tmp_path, case):
    name, how, head, is_recoded = OWN[case]
    tiny(name).save_pretrained(tmp_path / "dense")
    compress_model(tmp_path / "dense", tmp_path / "out", "svd", 1.2, **how)
    summary = export(tmp_path / "out", tmp_path / "model.onnx")
    model = load(tmp_path / "out")
    slot = model.embedding_slot
    assert (
        summary.layer == slot.lookups[0] and "matrix" not in how or summary.layer == how["matrix"]
    )
    assert (summary.head_format, summary.is_head_recoded) == (head, is_recoded)
    counted = slot.matrix.stored_bits + (slot.own_head.stored_bits if head else 0)
    assert summary.counted_bytes == counted // 8 and not summary.is_recoded
    ids = torch.tensor([[3, 5, 5, 9, 22], [1, 0, 2, 22, 7], [8, 8, 8, 8, 8]])
    values = {"input_ids": ids, "attention_mask": ids >= 0, "token_type_ids": ids * 0}
    inputs = {key: values[key].long() for key in summary.inputs}
    with torch.no_grad():
        expected = model(**inputs).logits
        slot.set_matrix(slot.matrix, None)
        tied = model(**inputs).logits
    found = run(tmp_path / "model.onnx", inputs)
    # A head that is recoded is rounded to int8 rows once more.
    torch.testing.assert_close(found, expected, rtol=0, atol=0.02 if is_recoded else 1e-5)
    assert head is None or abs(tied - expected).max() > 0.05


@pytest.mark.parametrize(
    "words, message",
    [
        (["out"], "--onnx"),
        (["dense", "--onnx", "model.onnx"], "embpress compress"),
        (["out", "--onnx", "no/model.onnx"], "a folder that exists"),
    ],
)
def test_bad_calls_end_on_one_sentence(tmp_path, monkeypatch, capsys, words, message):
    monkeypatch.chdir(tmp_path)
    tiny("bert_mlm").save_pretrained("dense")
    compress_model("dense", "out", "svd", 1.3)
    capsys.readouterr()
    assert main(["export", *words]) == 1
    error = capsys.readouterr().err
    assert error.startswith("embpress: ") and message in error and error.count("\n") == 1


def test_a_model_that_needs_other_inputs_is_refused(tmp_path):
    tiny("t5").save_pretrained(tmp_path / "dense")
    compress_model(tmp_path / "dense", tmp_path / "out", "svd", 1.3)
    with pytest.raises(UserError, match="T5ForConditionalGeneration.*input_ids"):
        export(tmp_path / "out", tmp_path / "model.onnx")
    assert not (tmp_path / "model.onnx").exists()


def test_a_file_with_wrong_outputs_is_not_written(tmp_path):
    from embpress.integrations.onnx.export import _write_checked
    from embpress.integrations.onnx.lookup import lookup_model

    rows = torch.randn(20, 4)
    built, _ = lookup_model(compress(rows, "identity", 1))
    file = tmp_path / "rows.onnx"
    file.write_text("an earlier file")
    sample = {"ids": torch.arange(20)}
    with pytest.raises(UserError, match="differ by"):
        _write_checked(built, file, sample, rows + 0.01)
    assert file.read_text() == "an earlier file" and list(tmp_path.iterdir()) == [file]
    assert _write_checked(built, file, sample, rows) == 0


def test_large_tensors_are_written_to_a_second_file(tmp_path, monkeypatch):
    from embpress.integrations.onnx import export as module
    from embpress.integrations.onnx.lookup import lookup_model

    rows = torch.randn(2000, 4)
    built, _ = lookup_model(compress(rows, "identity", 1))
    monkeypatch.setattr(module, "MAX_BYTES", 1000)
    sample = {"ids": torch.arange(2000)}
    module._write_checked(built, tmp_path / "rows.onnx", sample, rows)
    assert (tmp_path / "rows.onnx.data").stat().st_size >= 32_000
    assert torch.equal(run(tmp_path / "rows.onnx", sample), rows)
