import numpy as np
import torch

from embpress.formats.dense import DenseRows
from embpress.reconstruction import reconstruction


def test_against_numpy_in_float64():
    generator = np.random.default_rng(0)
    original, decoded = generator.normal(size=(2, 50, 7))
    counts = generator.integers(0, 100, 50)
    found = reconstruction(torch.tensor(original).float(), DenseRows((50, 7), torch.tensor(decoded)), torch.tensor(counts))
    error, energy = ((original - decoded) ** 2).sum(1), (original**2).sum(1)
    cosine = (original * decoded).sum(1) / np.sqrt(energy * (decoded**2).sum(1))
    assert np.isclose(found.relative_error, np.sqrt(error.sum() / energy.sum()), rtol=1e-5)
    assert np.isclose(found.mean_cosine, cosine.mean(), rtol=1e-4)
    assert np.isclose(
        found.weighted_relative_error, np.sqrt(((counts + 1) * error).sum() / ((counts + 1) * energy).sum()), rtol=1e-5
    )
    assert np.isclose(found.weighted_mean_cosine, np.average(cosine, weights=counts + 1), rtol=1e-4)
    top = np.argsort(-counts, kind="stable")[:5]
    assert np.isclose(found.decile_relative_error[0], np.sqrt(error[top].sum() / energy[top].sum()), rtol=1e-5)
    assert len(found.decile_mean_cosine) == 10


def test_no_counts_at_all_give_zero_and_not_nan():
    found = reconstruction(torch.ones(3, 2), DenseRows((3, 2), torch.ones(3, 2)), torch.zeros(3, dtype=torch.int64))
    assert found.weighted_relative_error == 0 and found.relative_error == 0
