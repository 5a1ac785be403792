import numpy as np
import pytest
import torch

from embpress.numerics import linalg


@pytest.fixture
def tall():
    return torch.randn(300, 20, generator=torch.Generator().manual_seed(0))


@pytest.mark.parametrize("weighted", [False, True])
def test_gram_equals_numpys_whatever_the_block(tall, weighted, monkeypatch):
    weights = torch.rand(300, generator=torch.Generator().manual_seed(1)) if weighted else None
    rows = tall.double().numpy()
    wanted = rows.T @ (rows if weights is None else rows * weights.double().numpy()[:, None])
    for block in (7, 100, 8192):
        monkeypatch.setattr(linalg, "ROW_BLOCK", block)
        np.testing.assert_allclose(
            linalg.gram(tall, weights).numpy(), wanted, rtol=1e-12, atol=1e-12
        )


def test_singular_vectors_equal_numpys_of_the_weighted_rows(tall):
    weights = torch.rand(300, generator=torch.Generator().manual_seed(1))
    found = linalg.right_singular_vectors(tall, 4, weights).double().numpy()
    scaled = tall.double().numpy() * weights.double().sqrt().numpy()[:, None]
    wanted = np.linalg.svd(scaled, full_matrices=False)[2][:4].T
    np.testing.assert_allclose(found @ found.T, wanted @ wanted.T, atol=1e-5)
    np.testing.assert_allclose(found.T @ found, np.eye(4), atol=1e-6)


def test_principal_axes_equal_numpys_of_the_weighted_covariance(tall):
    weights = torch.rand(300, generator=torch.Generator().manual_seed(1))
    rows = tall.double().numpy() + 5
    w = weights.double().numpy()
    mean, axes = linalg.principal_axes(tall + 5, 3, weights)
    np.testing.assert_allclose(mean.numpy(), np.average(rows, axis=0, weights=w), rtol=1e-5)
    wanted = np.linalg.eigh(np.cov(rows.T, aweights=w))[1][:, ::-1][:, :3]
    np.testing.assert_allclose(axes.numpy() @ axes.numpy().T, wanted @ wanted.T, atol=1e-4)
