"""Cheap metrics against plain numpy in float64, by brute force."""

import numpy as np
import pytest
import torch
from sklearn.neighbors import NearestNeighbors

from embpress.fidelity import neighbours
from embpress.fidelity.neighbours import query_rows
from embpress.fidelity.reconstruction import MATRIX_METRICS, reconstruction
from embpress.formats.dense import DenseRows

V = 50
D = 7


def brute_force_neighbours(original, decoded):
    """Share of the 10 nearest rows by cosine that stay, a row."""
    sets = []
    for matrix in (original, decoded):
        found = (
            NearestNeighbors(n_neighbors=11, metric="cosine", algorithm="brute")
            .fit(matrix)
            .kneighbors(matrix)[1]
        )
        sets.append([set(row) - {i} for i, row in enumerate(found)])
    return np.array([len(a & b) / 10 for a, b in zip(*sets)])


def brute_force_eigenspace(original, decoded, weights=None):
    """The definition: left singular vectors by SVD."""
    bases = []
    for matrix in (original, decoded):
        left, values, _ = np.linalg.svd(
            matrix * (1 if weights is None else np.sqrt(weights)[:, None]), full_matrices=False
        )
        bases.append(left[:, values > 1e-5 * values[0]])
    one, other = bases
    return ((one.T @ other) ** 2).sum() / max(one.shape[1], other.shape[1])


@pytest.fixture(params=[None, 3], ids=["full rank", "rank 3"])
def sample(request):
    """Original, decoded, counts.

    The decoded matrix is the original with noise, or its projection on some directions.
    """
    generator = np.random.default_rng(0)
    original = generator.normal(size=(V, D)).astype(np.float32)
    if request.param is None:
        decoded = original + 0.5 * generator.normal(size=(V, D)).astype(np.float32)
    else:
        decoded = original @ np.diag([1] * request.param + [0] * (D - request.param)).astype(
            np.float32
        )
    return original.astype(float), decoded.astype(float), generator.integers(0, 100, V)


def measured(original, decoded, counts):
    original, decoded = (torch.tensor(x, dtype=torch.float32) for x in (original, decoded))
    return reconstruction(original, DenseRows(tuple(original.shape), decoded), torch.tensor(counts))


def test_errors_and_cosines(sample):
    original, decoded, counts = sample
    found = measured(*sample)
    weights = counts + 1
    error = ((original - decoded) ** 2).sum(1)
    energy = (original**2).sum(1)
    cosine = (original * decoded).sum(1) / np.sqrt(energy * (decoded**2).sum(1))
    assert np.isclose(found.relative_error, np.sqrt(error.sum() / energy.sum()), rtol=1e-6)
    assert np.isclose(found.mean_cosine, cosine.mean(), rtol=1e-6)
    assert np.isclose(
        found.weighted_relative_error,
        np.sqrt((weights * error).sum() / (weights * energy).sum()),
        rtol=1e-6,
    )
    assert np.isclose(found.weighted_mean_cosine, np.average(cosine, weights=weights), rtol=1e-6)
    top = np.argsort(-counts, kind="stable")[:5]
    assert np.isclose(
        found.decile_relative_error[0], np.sqrt(error[top].sum() / energy[top].sum()), rtol=1e-6
    )
    assert np.isclose(found.decile_mean_cosine[0], cosine[top].mean(), rtol=1e-6)


def test_neighbour_overlap(sample):
    original, decoded, counts = sample
    found = measured(*sample)
    shares = brute_force_neighbours(original, decoded)
    assert np.isclose(found.neighbour_overlap, shares.mean(), rtol=1e-9)
    assert np.isclose(
        found.weighted_neighbour_overlap, np.average(shares, weights=counts + 1), rtol=1e-9
    )
    by_decile = [
        shares[rows].mean() for rows in np.array_split(np.argsort(-counts, kind="stable"), 10)
    ]
    assert np.allclose(found.decile_neighbour_overlap, by_decile, rtol=1e-9)


def test_eigenspace_overlap(sample):
    original, decoded, counts = sample
    found = measured(*sample)
    assert np.isclose(
        found.eigenspace_overlap, brute_force_eigenspace(original, decoded), rtol=1e-9
    )
    weighted = brute_force_eigenspace(original, decoded, counts + 1)
    assert np.isclose(found.weighted_eigenspace_overlap, weighted, rtol=1e-9)
    deciles = np.array_split(np.argsort(-counts, kind="stable"), 10)
    by_decile = [brute_force_eigenspace(original[rows], decoded[rows]) for rows in deciles]
    assert np.allclose(found.decile_eigenspace_overlap, by_decile, rtol=1e-6)


def test_rows_come_in_several_blocks(sample, monkeypatch):
    whole = measured(*sample).to_json()
    monkeypatch.setattr("embpress.fidelity.reconstruction.ROW_BLOCK", 3)
    blocked = measured(*sample).to_json()
    assert all(np.allclose(whole[name], blocked[name], rtol=1e-9) for name in whole)


def test_low_rank_in_float32_has_the_score_of_its_rank():
    generator = np.random.default_rng(0)
    original = generator.normal(size=(400, 40)).astype(np.float32)
    left, values, right = np.linalg.svd(original, full_matrices=False)
    decoded = (left[:, :10] * values[:10]) @ right[:10]
    assert np.isclose(
        measured(original, decoded, np.ones(400)).eigenspace_overlap, 10 / 40, rtol=1e-6
    )


@pytest.mark.parametrize("rows", [1, 2, 5, 11, 37])
def test_the_matrix_itself_is_perfect_however_few_its_rows(rows):
    matrix = np.random.default_rng(rows).normal(size=(rows, 4))
    found = measured(matrix, matrix, np.arange(rows))
    assert found.relative_error == 0
    for name in MATRIX_METRICS[1:]:
        assert getattr(found, name) == pytest.approx(1) and getattr(
            found, f"weighted_{name}"
        ) == pytest.approx(1), name
        assert len(getattr(found, f"decile_{name}")) == 10


def test_all_zero_rows_and_no_counts_give_zero_and_not_nan():
    found = measured(np.ones((30, 2)), np.zeros((30, 2)), np.zeros(30, dtype=np.int64))
    assert (found.relative_error, found.mean_cosine, found.eigenspace_overlap) == (1, 0, 0)
    assert 0 <= found.neighbour_overlap <= 1
    found = measured(np.zeros((3, 2)), np.zeros((3, 2)), np.zeros(3, dtype=np.int64))
    assert found.weighted_relative_error == 0 and found.relative_error == 0


def test_the_sample_of_queries_estimates_both_means_and_holds_the_frequent_rows():
    rows = 20_000
    weights = 1 / torch.arange(1, rows + 1, dtype=torch.float64)[torch.randperm(rows)]
    ids, stand_for = query_rows(weights / weights.mean())
    assert len(ids) == len(set(ids.tolist())) <= neighbours.QUERIES
    assert float(stand_for.sum()) == pytest.approx(rows, rel=0.01)
    assert float((stand_for * weights[ids]).sum() / weights.sum()) == pytest.approx(1, rel=0.01)
    assert set(weights.topk(50).indices.tolist()) <= set(ids.tolist())
    tenths = torch.zeros(rows).index_put(
        (weights.argsort(),), torch.arange(rows) * 10 // rows * 1.0
    )
    assert torch.bincount(tenths[ids].long(), minlength=10).min() >= 45
