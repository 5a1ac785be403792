import pytest
import torch

from embpress import compress, compress_model, inspect, load, storage
from embpress.cli import main
from embpress.errors import UserError
from embpress.export.manifest import HEAD
from embpress.models.embedding import find_embedding
from tests.zoo import outputs, tiny

TIED = ["bert_mlm", "llama_tied", "gpt2", "t5", "gemma3"]


def compressed(tmp_path, name, **arguments):
    """A tiny model, and the summary of its compression to `out`."""
    model = tiny(name)
    model.save_pretrained(tmp_path / "dense")
    summary = compress_model(tmp_path / "dense", tmp_path / "out", "svd", 2, **arguments)
    return model, summary


def heads_of(model):
    """The linear heads that share the embedding's weight."""
    weight = find_embedding(model)[1].weight
    return [
        module
        for module in model.modules()
        if isinstance(module, torch.nn.Linear) and module.weight is weight
    ]


@pytest.mark.parametrize("name", TIED)
def test_outputs_are_those_of_two_decoded_matrices_in_the_dense_model(tmp_path, name):
    model, summary = compressed(tmp_path, name, head="integer@3")
    lookup, head = storage.load(tmp_path / "out"), storage.load(tmp_path / "out" / HEAD)
    for module in heads_of(model):
        module.weight = torch.nn.Parameter(head.dense())
    with torch.no_grad():
        find_embedding(model)[1].weight.copy_(lookup.dense())
    for decode in ("rows", "cached", "dense"):
        loaded = load(tmp_path / "out", decode)
        torch.testing.assert_close(outputs(loaded), outputs(model), rtol=1e-4, atol=1e-5)
    assert not torch.allclose(lookup.dense(), head.dense()) and summary.head_after


def test_sizes_and_the_ratio_count_both(tmp_path):
    model, summary = compressed(tmp_path, "llama_tied", head="integer@3")
    weight = find_embedding(model)[1].weight.detach()
    lookup_bits = compress(weight, "svd", 2).stored_bits
    head_bits = storage.load(tmp_path / "out" / HEAD).stored_bits
    assert summary.head_after == head_bits // 8
    assert summary.embedding_after == (lookup_bits + head_bits) // 8
    assert summary.ratio == 32 * weight.numel() / (lookup_bits + head_bits) < 2
    found = inspect(tmp_path / "out")
    assert found.head.bytes == summary.head_after and found.head.name == "lm_head"
    assert found.embedding_ratio == summary.ratio and found.model_after == summary.model_after
    assert set(found.files) >= {"head/matrix.json", "head/matrix.safetensors"}


def test_a_loaded_model_is_saved_with_both(tmp_path):
    compressed(tmp_path, "bert_mlm", head="integer@3")
    model = load(tmp_path / "out", "dense")
    model.save_pretrained(tmp_path / "again")
    torch.testing.assert_close(outputs(load(tmp_path / "again")), outputs(model))
    assert inspect(tmp_path / "again").head == inspect(tmp_path / "out").head


def test_the_same_code_twice_gives_the_outputs_of_one_matrix(tmp_path):
    compressed(tmp_path, "llama_tied", head="svd@2")
    both = outputs(load(tmp_path / "out"))
    compressed(tmp_path, "llama_tied")
    torch.testing.assert_close(outputs(load(tmp_path / "out")), both)
    assert inspect(tmp_path / "out").head is None and not (tmp_path / "out" / HEAD).exists()


@pytest.mark.parametrize(
    "name, method, head, culprit",
    [
        ("llama_untied", "svd", "integer@3", "no output head that is tied.*leave out"),
        ("bert", "svd", "integer@3", "BertModel.*leave out"),
        ("llama_tied", "svd", "integer", "METHOD@RATIO"),
        ("llama_tied", "svd", "integer@x", "METHOD@RATIO"),
        ("llama_tied", "svd", "nothing@3", "no method 'nothing'"),
        ("llama_tied", "svd", "integer@0.5", "0.5"),
        ("llama_tied", "svd", "integer@nan", "nan"),
        ("llama_tied", "vocabulary_trimming", "integer@3", "trims a tied head"),
    ],
)
def test_what_cannot_be_is_refused(tmp_path, name, method, head, culprit):
    tiny(name).save_pretrained(tmp_path / "dense")
    with pytest.raises(UserError, match=culprit):
        compress_model(tmp_path / "dense", tmp_path / "out", method, 2, head=head)
    assert not (tmp_path / "out").exists()


def test_the_command_prints_both_sizes(tmp_path, capsys):
    tiny("llama_tied").save_pretrained(tmp_path / "dense")
    words = ["compress", "--model", str(tmp_path / "dense"), "--method", "svd", "--ratio", "2"]
    words += ["--head", "integer@3", "--out", str(tmp_path / "out")]
    assert main(words) == 0 and main(["inspect", str(tmp_path / "out")]) == 0
    printed = capsys.readouterr().out
    head_bytes = inspect(tmp_path / "out").head.bytes
    assert f"{head_bytes:,} of the head" in printed and "lm_head" in printed
    assert main([*words, "--matrices", "all", "--method", "ectcq"]) == 1
    assert "--head" in capsys.readouterr().err


def test_a_damaged_head_is_refused(tmp_path):
    compressed(tmp_path, "llama_tied", head="integer@3")
    (tmp_path / "out" / HEAD / "matrix.safetensors").unlink()
    with pytest.raises(UserError, match=r"head/matrix\.safetensors.*compress it again"):
        load(tmp_path / "out")
