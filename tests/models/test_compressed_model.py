"""Models that run on folders of compressed matrices."""

import pytest
import torch

from embpress import storage
from embpress.errors import UserError
from embpress.formats.dense import DenseRows
from embpress.methods import compress
from embpress.models.compressed_model import (
    CompressedModel,
    StoredMatrix,
    linear_weight,
    read_matrix_list,
    write_matrix_list,
)
from embpress.models.embedding import CompressedLinear, find_embedding
from embpress.study.layer_kinds import find_layer_matrices

from ..zoo import outputs, tiny

LAYERS = {
    "gpt2": ("query_key_value", "attention_output", "output"),
    "llama_tied": ("query", "intermediate_gate", "output"),
}


def write_matrices(model, folder, kinds, make, shared=False):
    """Compress the embedding and layers of some kinds by `make`, for `load_matrices`."""
    parts = [StoredMatrix("embedding", "embedding")]
    storage.save(make(find_embedding(model)[1].weight.detach()), folder / "embedding")
    base = model.base_model
    found = find_layer_matrices([name for name, _ in base.named_modules()], kinds)
    for kind in kinds:
        of_kind = [p.name for p in found if p.kind == kind]
        for i, names in enumerate([of_kind] if shared else [[name] for name in of_kind]):
            weights = torch.cat([linear_weight(base.get_submodule(n), n).detach() for n in names])
            storage.save(make(weights), folder / f"{kind}-{i}")
            parts.append(StoredMatrix(f"{kind}-{i}", kind, tuple(names)))
    write_matrix_list(parts, folder)
    return folder


def dense_rows(weight):
    return DenseRows(tuple(weight.shape), weight)


@pytest.mark.parametrize(
    "name", ["bert_classifier", "distilbert_mlm", "deberta_v2_mlm", "electra", "gpt2", "llama_tied"]
)
@pytest.mark.parametrize("shared", [False, True])
def test_dense_matrices_in_all_places_change_nothing(name, shared, tmp_path):
    more = {"num_hidden_layers": 2} if name not in ("distilbert_mlm", "gpt2") else {}
    model = tiny(name, **more)
    wanted = outputs(model)
    kinds = LAYERS.get(
        name, ("query", "key", "value", "attention_output", "intermediate", "output")
    )
    CompressedModel(model).load_matrices(write_matrices(model, tmp_path, kinds, dense_rows, shared))
    replaced = [m for m in model.modules() if isinstance(m, CompressedLinear)]
    assert len(replaced) >= len(kinds)
    torch.testing.assert_close(outputs(model), wanted, rtol=1e-4, atol=1e-5)


def test_a_matrix_folder_of_the_embedding_loads_too(tmp_path):
    model = tiny("bert_classifier")
    wanted = outputs(model)
    storage.save(dense_rows(find_embedding(model)[1].weight.detach()), tmp_path)
    assert read_matrix_list(tmp_path) == [StoredMatrix(".", "embedding")]
    CompressedModel(model).load_matrices(tmp_path)
    assert type(model.bert.embeddings.word_embeddings).__name__ == "CompressedEmbedding"
    torch.testing.assert_close(outputs(model), wanted)


@pytest.mark.parametrize("shared", [False, True])
def test_compressed_layers_compute_what_their_decoded_matrices_do(shared, tmp_path):
    model = tiny("bert", num_hidden_layers=2)
    by_hand = tiny("bert", num_hidden_layers=2)
    write_matrices(model, tmp_path, ("query", "output"), lambda w: compress(w, "svd", 1.5), shared)
    matrices = CompressedModel(model).load_matrices(tmp_path)
    with torch.no_grad():
        by_hand.embeddings.word_embeddings.weight.copy_(matrices["embedding"].dense())
        for part in read_matrix_list(tmp_path)[1:]:
            for name, rows in zip(
                part.layers, matrices[part.folder].dense().chunk(len(part.layers))
            ):
                by_hand.get_submodule(name).weight.copy_(rows)
    torch.testing.assert_close(outputs(model), outputs(by_hand), rtol=1e-4, atol=1e-5)


def test_folders_load_one_after_another(tmp_path):
    model = tiny("gpt2")
    wanted = outputs(model)
    near = write_matrices(model, tmp_path / "near", LAYERS["gpt2"], dense_rows)
    far = write_matrices(model, tmp_path / "far", LAYERS["gpt2"], lambda w: compress(w, "mean", 1))
    compressed = CompressedModel(model)
    compressed.load_matrices(far)
    assert not torch.allclose(outputs(model), wanted, atol=1e-2)
    compressed.load_matrices(near)
    torch.testing.assert_close(outputs(model), wanted, rtol=1e-4, atol=1e-5)


def test_gradients_pass_to_the_input_and_to_float_factors(tmp_path):
    matrix = compress(torch.randn(24, 16, generator=torch.Generator().manual_seed(0)), "svd", 1.5)
    layer = CompressedLinear(matrix, torch.nn.Linear(16, 24))
    matrix.left = matrix.left.requires_grad_()
    x = torch.randn(5, 16, requires_grad=True)
    layer(x).square().sum().backward()
    assert float(x.grad.abs().sum()) > 0 and float(matrix.left.grad.abs().sum()) > 0


def test_a_model_of_other_layers_or_shapes_is_refused(tmp_path):
    folder = write_matrices(tiny("bert"), tmp_path / "a", ("query",), dense_rows)
    with pytest.raises(
        UserError, match=r"LlamaModel has no layer encoder.layer.0.attention.self.query: compress"
    ):
        CompressedModel(tiny("llama_tied")).load_matrices(folder)
    with pytest.raises(UserError, match=r"query has shape \(32, 32\).*\(16, 16\)"):
        storage.save(dense_rows(torch.randn(23, 32)), folder / "embedding")
        CompressedModel(tiny("bert", hidden_size=32)).load_matrices(folder)


@pytest.mark.parametrize(
    "text",
    [
        "{}",
        '{"parts": [{"folder": "../x", "kind": "query", "places": ["a"]}]}',
        "[]",
        '{"parts": [{"folder": "a"}]}',
        '{"parts": [{"folder": "a", "kind": "embedding", "places": ["a"]}]}',
    ],
)
def test_a_broken_list_is_refused(text, tmp_path):
    (tmp_path / "modules.json").write_text(text)
    with pytest.raises(UserError, match="not a valid folder of compressed matrices"):
        read_matrix_list(tmp_path)
