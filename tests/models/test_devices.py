"""Models run on the second device, and their compressed matrices move with them."""

import copy

import pytest
import torch

from embpress import storage
from embpress.models.compressed_model import CompressedModel
from embpress.models.embedding import EmbeddingSlot, tied_head
from embpress.models.sensitivity import (
    compute_sensitivities,
    correct_masked_token,
    correct_next_token,
    own_prediction,
)

from ..methods.samples import fitted
from ..second_device import assert_same
from ..zoo import V, tiny
from .test_compressed_model import dense_rows, write_matrices

IDS = torch.tensor([[3, 7, 7, 12, 5], [9, 1, 20, 2, 4]])
MODELS = ["bert_mlm", "gpt2", "llama_tied", "gemma3", "modernbert_mlm"]
FORMATS = ["svd", "integer", "rotated_signs", "ectcq", "sparse_coding", "b23", "pq"]


def run(model) -> torch.Tensor:
    """The logits of IDS, on the CPU."""
    with torch.inference_mode():
        logits = model(input_ids=IDS.to(model.device)).logits
    assert logits.device == model.device
    return logits.cpu()


@pytest.mark.parametrize("name", MODELS)
def test_a_model_moves_with_its_matrix_and_keeps_its_ties(name, second):
    model = tiny(name)
    weight = model.get_input_embeddings().weight.detach().clone()
    EmbeddingSlot(model).set_matrix(dense_rows(weight))
    wanted = run(model)
    model.to(second)
    assert_same(run(model), wanted)
    assert_same(run(model.cpu()), wanted)


@pytest.mark.parametrize("name", ["bert_mlm", "gpt2"])
def test_matrices_are_loaded_to_the_device_of_the_model(name, tmp_path, second):
    kinds = ("query", "output") if name == "bert_mlm" else ("query_key_value", "output")
    here, there = tiny(name), tiny(name).to(second)
    assert tied_head(there) is not None
    compressed = [CompressedModel(model) for model in (here, there)]
    for shared in (False, True):
        folder = write_matrices(tiny(name), tmp_path / str(shared), kinds, dense_rows, shared)
        for model in compressed:
            matrices = model.load_matrices(folder)
            assert {matrix.device for matrix in matrices.values()} == {model.model.device}
        assert_same(run(there), run(here))


@pytest.mark.parametrize("method", FORMATS)
def test_an_embedding_of_each_format_runs_and_passes_gradients(method, tmp_path, second):
    _, matrix = fitted(method, 600, 48, 4)
    here = tiny("gpt2", vocab_size=600, n_embd=48)
    storage.save(matrix, tmp_path)
    there = copy.deepcopy(here).to(second)
    gradients = []
    for model in (here, there):
        CompressedModel(model).load_matrices(tmp_path)
        model(input_ids=IDS.to(model.device)).logits.square().mean().backward()
        gradients.append([p.grad.cpu() for p in model.parameters() if p.grad is not None])
    assert_same(run(there), run(here))
    assert gradients[0]
    torch.testing.assert_close(*gradients, rtol=1e-4, atol=1e-7)


@pytest.mark.parametrize(
    ("name", "objective"),
    [
        ("gpt2", lambda: correct_next_token),
        ("bert_classifier", lambda: own_prediction),
        ("bert_mlm", lambda: correct_masked_token(4, [0, 2], torch.Generator().manual_seed(0))),
    ],
)
def test_sensitivities_are_those_of_the_cpu_and_come_back(name, objective, second):
    layers = ["h.0.mlp.c_proj"] if name == "gpt2" else ["encoder.layer.0.output.dense"]
    found = [
        compute_sensitivities(tiny(name).to(device), IDS.split(1), objective(), print, layers)
        for device in (torch.device("cpu"), second)
    ]
    assert found[0]["fisher"].shape == (V,)
    torch.testing.assert_close(found[1], found[0], rtol=1e-4, atol=1e-7)
