"""What every compressed matrix must do in training.

What it stores as real numbers can be trained, and is stored again.
"""

import pytest
import torch

from embpress import storage
from embpress.errors import UserError
from embpress.methods import compress, method_class

from .samples import CONTROLS, DTYPES, feasible, fitted, matrix_of

IDS = torch.tensor([599, 0, 3, 3, 300, 17])


def has_factors(name):
    """Controls are stored as they are, and codes with their scales are frozen."""
    return method_class(name).has_factors and name not in CONTROLS


def some_function(matrix):
    """A number that depends on rows and on products with the matrix."""
    generator = torch.Generator().manual_seed(3)
    at_rows = torch.randn(len(IDS), 48, generator=generator)
    x = torch.randn(2, 48, generator=generator)
    at_products = torch.randn(2, 600, generator=generator)
    return (matrix.rows(IDS) * at_rows).sum() + (matrix.product(x) * at_products).sum()


def test_gradients_are_those_of_finite_differences(name):
    _, compressed = fitted(name, 600, 48, feasible(name))
    compressed.unfreeze()
    parameters = dict(compressed.named_parameters())
    assert bool(parameters) == has_factors(name)
    if not parameters:
        return
    assert all(p.dtype == torch.float32 for p in parameters.values())
    some_function(compressed).backward()
    for parameter_name, parameter in parameters.items():
        assert parameter.grad is not None and parameter.grad.abs().sum() > 0, parameter_name
        direction = parameter.grad / parameter.grad.norm()
        step = 1e-3 * parameter.detach().norm() + 1e-4
        ends = []
        for sign in (1, -1):
            with torch.no_grad():
                parameter += sign * step * direction
                ends.append(some_function(compressed).double())
                parameter -= sign * step * direction
        found = (ends[0] - ends[1]) / (2 * step)
        assert found.item() == pytest.approx(parameter.grad.norm().item(), rel=0.03), parameter_name


@pytest.mark.parametrize("dtype", DTYPES)
def test_unfrozen_and_frozen_again_is_the_same(name, dtype):
    if dtype != "float32" and not method_class(name).has_factors:
        return
    _, compressed = fitted(name, 600, 48, feasible(name), factor_dtype=dtype)
    before = compressed.dense()
    bits = compressed.stored_bits
    names = set(compressed.state_dict())
    compressed.unfreeze()
    torch.testing.assert_close(compressed.dense().detach(), before, rtol=1e-5, atol=1e-6)
    compressed.freeze()
    assert not list(compressed.parameters())
    assert set(compressed.state_dict()) == names and compressed.stored_bits == bits
    # Scales of int8 codes are found anew, and may come out one fp16 number lower.
    torch.testing.assert_close(
        compressed.dense(),
        before,
        rtol=1e-2 if dtype == "int8" else 0,
        atol=1e-3 * (dtype == "int8"),
    )


def test_trained_it_is_nearer_and_as_large_and_saved(name, tmp_path):
    if not has_factors(name):
        return
    _, compressed = fitted(name, 600, 48, feasible(name))
    target = matrix_of(600, 48, seed=1) * 0.5
    bits = compressed.stored_bits
    before = (compressed.dense() - target).square().mean()
    compressed.unfreeze()
    # Small enough for rows that are sums of many trained centroids.
    optimizer = torch.optim.Adam(compressed.parameters(), lr=5e-4)
    for _ in range(15):
        optimizer.zero_grad()
        (compressed.rows(torch.arange(600)) - target).square().mean().backward()
        optimizer.step()
    compressed.freeze()
    assert (compressed.dense() - target).square().mean() < before
    assert compressed.stored_bits == bits
    storage.save(compressed, tmp_path)
    assert torch.equal(storage.load(tmp_path).dense(), compressed.dense())


def test_a_factor_trained_beyond_float16_is_refused():
    compressed = compress(matrix_of(64, 16), "svd", 2, factor_dtype="float16")
    compressed.unfreeze()
    with torch.no_grad():
        compressed.left.fill_(1e6)
    with pytest.raises(UserError, match="factor left .*float16"):
        compressed.freeze()
