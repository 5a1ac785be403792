"""Coding all matrices of a model: what stays in memory, and what is recorded of each matrix."""

import pytest
import torch

from embpress.methods._base import Context
from embpress.methods._layer_code import LayerCoder
from embpress.models.calibration import calibrate
from embpress.models.dense_matrices import find_matrices
from embpress.models.embedding import find_embedding
from embpress.models.whole_model_code import code_model
from embpress.study.layer_kinds import EMBEDDING

from ..zoo import tiny

TEXTS = [[3, 5, 7], [4, 4, 9, 11, 2], [8]]


@pytest.mark.parametrize("name", ["bert_classifier", "gpt2"])
def test_decoded_weights_take_the_place_of_the_dense_ones(name):
    model = tiny(name)
    dense = {matrix.name: matrix.weight.clone() for matrix in find_matrices(model)}
    dense[EMBEDDING] = find_embedding(model)[1].weight.detach().clone()
    code = code_model(model, 2, calibrate(model, TEXTS), None, Context())
    assert code.errors.keys() == dense.keys()
    for layer in code.layers:
        (weight,) = layer.weights
        # One storage, so that no matrix is in memory twice.
        assert model.get_parameter(weight).data_ptr() == layer.matrix.dense().data_ptr()
    for matrix in find_matrices(model):
        error, own = code.errors[matrix.name], dense[matrix.name].double()
        wanted = (own - matrix.weight).square().sum()
        assert error.squared_error == pytest.approx(float(wanted), rel=1e-4)
        assert error.energy == pytest.approx(float(own.square().sum()), rel=1e-4)


def test_a_coder_keeps_no_matrix_of_its_own():
    model = tiny("bert_classifier")
    matrix = max(find_matrices(model), key=lambda matrix: matrix.weight.numel())
    calibration = calibrate(model, TEXTS)
    coder = LayerCoder(matrix.weight, calibration.moments[matrix.name])
    coder.encode(-3)
    arrays = [value for value in vars(coder).values() if getattr(value, "shape", ()) != ()]
    own = [a for a in arrays if tuple(a.shape) == tuple(matrix.weight.shape)]
    assert [a.__array_interface__["data"][0] for a in own] == [matrix.weight.data_ptr()]
    assert not any(isinstance(value, torch.Tensor) and value.ndim > 1 for value in arrays)
