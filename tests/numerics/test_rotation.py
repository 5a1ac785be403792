import numpy as np
import pytest
import torch
from scipy.linalg import hadamard

from embpress.errors import UserError
from embpress.numerics.rotation import Rotation, splitmix64


def dense(d, seed=3):
    """R of the definition, in float64.

    Row i of the result is the rotated unit vector i, so that this is R^T.
    """
    rows = max(n for n in range(1, d + 1) if d % n == 0 and n * n <= d)
    factors = []
    for n in (rows, d // rows):
        odd = n // (n & -n)
        transform = np.fft.fft(np.eye(odd))
        hartley = (transform.real - transform.imag) / np.sqrt(odd)
        factors.append(np.kron(hadamard(n // odd) / np.sqrt(n // odd), hartley))
    signs = np.where(splitmix64(seed, d).astype(object) >= 2**63, -1.0, 1.0)
    return signs[:, None] * np.kron(*factors)


def test_random_numbers_are_those_that_the_generator_is_published_with():
    assert splitmix64(0, 1)[0] == 0xE220A8397B1DCDAF
    assert splitmix64(1234567, 5).tolist() == [
        6457827717110365317,
        3203168211198807973,
        9817491932198370423,
        4593380528125082431,
        16408922859458223821,
    ]
    assert splitmix64(-1, 2).tolist() == splitmix64(2**64 - 1, 2).tolist()


@pytest.mark.parametrize("d", [1, 2, 7, 31, 48, 64, 96, 100, 384, 576, 768])
def test_rotation_is_the_stated_one_and_orthogonal(d):
    rotation = Rotation(d, 3)
    wanted = dense(d)
    np.testing.assert_allclose(wanted @ wanted.T, np.eye(d), atol=1e-9)
    np.testing.assert_allclose(rotation.forward(torch.eye(d)).numpy(), wanted, atol=1e-6)
    np.testing.assert_allclose(rotation.backward(torch.eye(d)).numpy(), wanted.T, atol=1e-6)


def test_rotation_never_changes():
    # Artefacts hold the seed alone: other numbers here would make all of them unreadable.
    found = Rotation(12, 5).forward(torch.arange(12.0)[None])[0]
    wanted = [
        5.7735,
        4.6188,
        -1.73205,
        5.19615,
        -7.1547,
        -6.3094,
        9.26795,
        -6.73205,
        4.8453,
        1.6906,
        -12.73205,
        3.26795,
    ]
    np.testing.assert_allclose(found.numpy(), wanted, atol=2e-5)


@pytest.mark.parametrize("d", [31, 48, 384, 768])
def test_every_output_mixes_all_inputs(d):
    # A row of one large entry, the worst for one scale a row, is spread over all columns.
    found = Rotation(d, 0).forward(torch.eye(d)[:5])
    assert found.abs().max() <= 2 / d**0.5 + 1e-6
    assert (found.abs() > 1e-4 / d**0.5).float().mean() > 0.95


@pytest.mark.parametrize("shape", [(0, 48), (3, 48)])
def test_input_is_left_alone(shape):
    x = torch.ones(shape)
    assert Rotation(48, 0).backward(x).shape == shape
    assert Rotation(48, 0).forward(x).shape == shape
    assert (x == 1).all()


@pytest.mark.parametrize("d", [4999, 2 * 4999, 10**9])
def test_widths_whose_factors_are_large_are_refused(d):
    with pytest.raises(UserError, match="another method"):
        Rotation(d, 0)


@pytest.mark.parametrize("d", [384, 768, 1024, 3840, 5120, 1021])
def test_widths_of_models_are_not(d):
    assert len(Rotation(d, 0).right) <= 1021
