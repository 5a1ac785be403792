import pytest
import torch

from embpress import compress_model, load
from embpress.models import embedding_of
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
        embedding_of(model)[1].weight.copy_(loaded.embedding_slot.matrix.dense())
    torch.testing.assert_close(outputs(loaded), outputs(model), rtol=1e-4, atol=1e-5)
