"""Layers that are corrected for the errors of the layers coded before them."""

import numpy as np
import pytest
import torch

from embpress.errors import UserError
from embpress.methods._base import Context
from embpress.methods._code_options import CodeOptions
from embpress.models.calibration import calibrate
from embpress.models.calibration_texts import run_batch, token_rows
from embpress.models.dense_matrices import find_matrices
from embpress.models.drift_correction import measure_drift
from embpress.models.embedding import find_embedding
from embpress.models.whole_model_code import code_model

from ..zoo import V, tiny

TEXTS = torch.randint(3, V, (64, 12), generator=torch.Generator().manual_seed(0)).tolist()


def outputs(model, batches):
    with torch.no_grad():
        parts = [run_batch(model, dict(batch.inputs))[0] for batch in batches]
    return torch.cat([part.flatten(0, -2) for part in parts])


def inputs_of(model, name, batches):
    """Inputs of a layer at all tokens, as a hook sees them in a whole run."""
    rows = []
    layer = model.get_submodule(name)
    for batch in batches:
        handle = layer.register_forward_pre_hook(
            lambda _, inputs, mask=batch.mask: rows.append(token_rows(inputs[0], mask))
        )
        with torch.no_grad():
            run_batch(model, dict(batch.inputs))
        handle.remove()
    return torch.cat(rows).double().numpy()


@pytest.mark.parametrize("name", ["bert", "gpt2"])
def test_the_corrected_weight_is_that_of_least_squares(name, monkeypatch):
    monkeypatch.setattr("embpress.models.drift_correction.INPUT_DAMPING", 1e-9)
    dense, coded = tiny(name), tiny(name)
    calibration = calibrate(dense, TEXTS)
    noise = torch.Generator().manual_seed(0)
    first, *_, last = [matrix for matrix in find_matrices(coded) if not matrix.is_table]
    weight = first.parameter.data
    first.parameter.data = weight + weight.std() * torch.randn(weight.shape, generator=noise)
    drift = measure_drift(dense, coded, last.name, calibration.batches)
    x, y = (inputs_of(model, last.name, calibration.batches) for model in (dense, coded))
    assert np.abs(x - y).max() > 0.01
    wanted, *_ = np.linalg.lstsq(y, x @ last.weight.double().numpy().T, rcond=None)
    np.testing.assert_allclose(drift.correct(last.weight).numpy(), wanted.T, atol=1e-3)


def test_without_a_change_there_is_nothing_to_correct():
    model = tiny("bert")
    calibration = calibrate(model, TEXTS)
    matrix = next(m for m in find_matrices(model) if not m.is_table)
    drift = measure_drift(model, model, matrix.name, calibration.batches)
    torch.testing.assert_close(drift.correct(matrix.weight), matrix.weight)


def test_outputs_are_nearer_with_the_correction():
    errors = []
    for drift in (False, True):
        model = tiny("bert", hidden_size=64, num_hidden_layers=3, intermediate_size=128)
        calibration = calibrate(model, TEXTS)
        before = outputs(model, calibration.batches)
        options = CodeOptions(drift=drift, one_level=False, trellis=False, measured=False)
        code = code_model(model, 16, calibration, None, Context(), options)
        find_embedding(model)[1].weight.data = code.embedding.dense()
        errors.append(float((outputs(model, calibration.batches) - before).square().mean()))
    assert errors[1] < 0.9 * errors[0]


def test_each_matrix_has_bits_of_its_own():
    assert not CodeOptions(drift=True).one_level
    with pytest.raises(UserError, match="gptq and drift"):
        CodeOptions(drift=True, gptq=True)
