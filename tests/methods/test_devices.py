"""Fits on the second device: what is trained there is as good as on the CPU, and comes back."""

from dataclasses import replace

import pytest
import torch

from embpress.errors import InfeasibleRatio
from embpress.fidelity.reconstruction import reconstruction
from embpress.methods import compress, method_class
from embpress.methods._base import Context
from embpress.numerics.linalg import gram, principal_axes, right_singular_vectors
from embpress.numerics.matrices import safetensors_matrix

from .samples import QUICK, context_of, feasible, matrix_of

OPTIONS = {
    "direction_autoencoder": [{"linear": False}, {"start": "random"}],
    "offline_autoencoder": [{"start": "random", "enforce_norm": False}, {"linear": True}],
    "residual_binary_autoencoder": [{"training": "joint"}, {"rank": 0}],
}
"""Options that change what a trained fit computes."""
TOLERANCES = {"residual_binary_autoencoder": 0.05}
"""Relative tolerance of the error, if not 1 %: rounding flips signs, and the fits that follow move
the error as much as another seed does (up to 4 %).
"""


@pytest.mark.parametrize("dtype", ["float32", "int8"])
def test_every_fit_takes_a_device_and_comes_back(name, dtype, second):
    if dtype != "float32" and not method_class(name).has_factors:
        return
    matrix = matrix_of(600, 48)
    here = replace(context_of(600), sensitivity={"fisher": torch.linspace(0.1, 1, 600)})
    there = replace(here, device=second)
    weighted = {"weighting": "fisher"} if method_class(name).weighted else {}
    for options in ({}, weighted, *OPTIONS.get(name, [])):
        options = {"factor_dtype": dtype} | QUICK.get(name, {}) | options
        try:
            wanted = compress(matrix, name, feasible(name), here, **options)
        except InfeasibleRatio:
            continue
        found = compress(matrix, name, feasible(name), there, **options)
        assert {tensor.device.type for tensor in found.buffers()} == {"cpu"}
        assert found.stored_bits == wanted.stored_bits
        errors = [reconstruction(matrix, m, here.counts).relative_error for m in (found, wanted)]
        assert errors[0] == pytest.approx(errors[1], rel=TOLERANCES.get(name, 0.01))
        if not method_class(name).uses_device:
            assert torch.equal(found.dense(), wanted.dense())


def test_methods_that_train_use_the_device():
    trained = ("direction_autoencoder", "offline_autoencoder", "residual_binary_autoencoder")
    assert all(method_class(name).uses_device for name in trained)
    assert not method_class("ectcq").uses_device


def test_a_fit_that_forgets_its_device_is_found(imitated, monkeypatch):
    """As if the rotation of the greedy stages stayed where its generator is."""
    matrix = matrix_of(600, 48)
    monkeypatch.setattr(torch.Tensor, "to", lambda tensor, *args, **kwargs: tensor)
    there = torch.zeros(600, 48, device=imitated)
    there.copy_(matrix)
    method = method_class("lighttoken")()
    plan = method.plan((600, 48), feasible("residual_binary_autoencoder"))
    with pytest.raises(RuntimeError, match="on the same device"):
        method.fit(there, plan, replace(context_of(600), device=imitated))


def test_products_and_eigenvectors_are_those_of_the_cpu(second):
    matrix = matrix_of(500, 24)
    weights = context_of(500).counts.float()
    there = matrix.to(second), weights.to(second)
    for found, wanted in (
        (gram(*there), gram(matrix, weights)),
        (gram(there[0]), gram(matrix)),
        (principal_axes(there[0], 3, there[1])[0], principal_axes(matrix, 3, weights)[0]),
    ):
        assert found.device == second
        torch.testing.assert_close(found.cpu(), wanted, rtol=1e-6, atol=1e-9)
    basis = right_singular_vectors(there[0], 4, there[1]).cpu()
    wanted = right_singular_vectors(matrix, 4, weights)
    torch.testing.assert_close(basis @ basis.T, wanted @ wanted.T, rtol=1e-3, atol=1e-4)


def test_a_matrix_on_disk_is_compressed_on_the_cpu(tmp_path, second):
    from safetensors.torch import save_file

    save_file({"e": matrix_of(300, 16)}, tmp_path / "m.safetensors")
    matrix = safetensors_matrix(tmp_path / "m.safetensors", "e")
    context = Context(torch.arange(300), device=second)
    found = compress(matrix, "svd", 2, context, weighting="counts")
    assert torch.equal(
        found.dense(), compress(matrix[:], "svd", 2, context, weighting="counts").dense()
    )
