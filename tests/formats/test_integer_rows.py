"""Codes that are trained with a straight-through estimator."""

import pytest
import torch

from embpress import storage
from embpress.methods import compress, method_class, names
from tests.methods.samples import context_of, matrix_of

TRAINABLE = [
    name for name in names() if "straight_through" in method_class(name).Options.__annotations__
]
RATIO = 6


def trainable(name, **options):
    return compress(
        matrix_of(200, 48), name, RATIO, context_of(200), straight_through=True, **options
    )


def test_methods_of_integers_can_be_trained():
    assert set(TRAINABLE) == {"integer", "frequency_tiers", "grouped_integer"}


@pytest.mark.parametrize("name", TRAINABLE)
def test_without_the_option_there_are_no_parameters(name):
    compressed = compress(matrix_of(200, 48), name, RATIO, context_of(200))
    compressed.unfreeze()
    assert not list(compressed.parameters())


@pytest.mark.parametrize("name", TRAINABLE)
def test_unfrozen_it_decodes_the_same_and_frozen_again_has_the_same_codes(name):
    compressed = trainable(name)
    before = {key: value.clone() for key, value in compressed.state_dict().items()}
    rows = compressed.dense()
    compressed.unfreeze()
    assert torch.equal(compressed.dense().detach(), rows)
    compressed.freeze()
    after = compressed.state_dict()
    assert after.keys() == before.keys()
    assert all(torch.equal(after[key], value) for key, value in before.items())


@pytest.mark.parametrize("name", TRAINABLE)
def test_frozen_rows_are_exactly_those_of_the_forward_pass(name, tmp_path):
    compressed = trainable(name)
    bits = compressed.stored_bits
    rows = compressed.dense()
    compressed.unfreeze()
    generator = torch.Generator().manual_seed(1)
    with torch.no_grad():
        for parameter in compressed.parameters():
            parameter += 0.02 * torch.randn(parameter.shape, generator=generator)
    trained = compressed.dense().detach()
    assert not torch.equal(trained, rows)
    x = torch.randn(3, 48, generator=generator)
    product = compressed.product(x).detach()
    compressed.freeze()
    assert torch.equal(compressed.dense(), trained)
    assert torch.equal(compressed.product(x), product)
    assert compressed.stored_bits == bits
    storage.save(compressed, tmp_path)
    assert torch.equal(storage.load(tmp_path).dense(), trained)


@pytest.mark.parametrize("name", TRAINABLE)
def test_the_gradient_is_that_of_the_decoded_rows(name):
    compressed = trainable(name)
    compressed.unfreeze()
    weight = torch.randn(200, 48, generator=torch.Generator().manual_seed(1))
    (compressed.rows(torch.arange(200)) * weight).sum().backward()
    gradients = torch.cat([parameter.grad for parameter in compressed.parameters()])
    order = gradients.sum(1).argsort()
    torch.testing.assert_close(gradients[order], weight[weight.sum(1).argsort()])


@pytest.mark.parametrize("name", TRAINABLE)
def test_training_reduces_the_loss(name):
    compressed = trainable(name)
    target = matrix_of(200, 48) * 0.7
    before = (compressed.dense() - target).square().mean()
    compressed.unfreeze()
    optimizer = torch.optim.Adam(compressed.parameters(), lr=1e-3)
    for _ in range(40):
        optimizer.zero_grad()
        (compressed.rows(torch.arange(200)) - target).square().mean().backward()
        optimizer.step()
    compressed.freeze()
    assert (compressed.dense() - target).square().mean() < 0.5 * before


def test_only_the_option_is_added_to_the_stored_config(tmp_path):
    plain = compress(matrix_of(200, 48), "integer", RATIO, bits=4)
    assert plain.config() == {"width": 4, "group": 0, "minima": False}
    storage.save(trainable("integer", bits=4), tmp_path)
    loaded = storage.load(tmp_path)
    loaded.unfreeze()
    assert [name for name, _ in loaded.named_parameters()] == ["latent"]
