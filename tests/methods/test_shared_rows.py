"""Methods whose ids share stored rows, against numpy's least squares and an independent k-means."""

import numpy as np
import pytest
import torch

from embpress.fidelity.reconstruction import reconstruction
from embpress.methods import compress, method_class
from embpress.methods._base import budget_bits

from .samples import context_of, matrix_of


@pytest.mark.parametrize("name", ["row_clustering", "row_hashing", "quotient_remainder"])
@pytest.mark.parametrize("shape", [(5000, 48), (30522, 384)])
@pytest.mark.parametrize("ratio", [4, 8, 10, 16, 25])
def test_the_budget_is_spent(name, shape, ratio):
    plan = method_class(name)().plan(shape, ratio)
    budget = budget_bits(shape, ratio)
    assert 0 <= budget - plan.bits <= 0.02 * budget


def squared_error(matrix, compressed):
    return float((matrix - compressed.dense()).double().square().sum())


@pytest.mark.parametrize("weighting", ["uniform", "counts"])
def test_sums_are_the_least_squares_solution_of_numpy(weighting):
    matrix = matrix_of(200, 5)
    context = context_of(200)
    compressed = compress(
        matrix, "quotient_remainder", 4, context, operation="add", weighting=weighting
    )
    quotient, remainder = compressed.positions(torch.arange(200))
    design = np.zeros((200, compressed.quotients + compressed.remainders))
    design[np.arange(200), quotient] = 1
    design[np.arange(200), compressed.quotients + remainder] = 1
    method = method_class("quotient_remainder")(weighting=weighting)
    root = method.row_weights(context, 200).double().sqrt().numpy()[:, None]
    wanted = np.linalg.lstsq(root * design, root * matrix.double().numpy(), rcond=None)[0]
    error = np.square(root * (matrix.numpy() - design @ wanted)).sum()
    found = np.square(root * (matrix - compressed.dense()).double().numpy()).sum()
    assert error <= found * (1 + 1e-6)
    assert found <= 1.01 * error


def test_products_on_a_full_grid_are_the_best_of_rank_one():
    """Each column of a grid of quotients and remainders is best approximated by its first SVD."""
    matrix = matrix_of(240, 6) + 0.05
    compressed = compress(matrix, "quotient_remainder", 240 / (40 + 6))
    assert (compressed.quotients, compressed.remainders) == (40, 6)
    grid = matrix.double().view(40, 6, 6).permute(2, 0, 1)
    singular = torch.linalg.svdvals(grid)
    best = float(singular[:, 1:].square().sum())
    assert best * (1 - 1e-6) <= squared_error(matrix, compressed) <= 1.02 * best


@pytest.mark.parametrize("ratio", [1.5, 4, 9, 15])
def test_no_two_ids_have_the_same_pair(ratio):
    compressed = compress(matrix_of(1000, 8), "quotient_remainder", ratio)
    quotient, remainder = compressed.positions(torch.arange(1000))
    assert int(quotient.max()) < compressed.quotients
    assert len(set(zip(quotient.tolist(), remainder.tolist()))) == 1000


def test_hashed_rows_are_the_means_of_those_that_collide():
    matrix = matrix_of(600, 12)
    compressed = compress(matrix, "row_hashing", 5)
    assert compressed.stored_bits == 32 * 12 * compressed.n_shared
    for bucket in (0, 1, compressed.n_shared - 1):
        members = (compressed.index == bucket).nonzero()[:, 0]
        if len(members):
            mean = matrix[members].double().mean(0).float()
            torch.testing.assert_close(compressed.dense()[members[0]], mean)
    sizes = torch.bincount(compressed.index, minlength=compressed.n_shared)
    assert sizes.max() < 20  # spread like balls in urns, 5 a bucket


def test_seeds_hash_otherwise():
    first, second = (
        compress(matrix_of(600, 12), "row_hashing", 5, context_of(600, seed)).index
        for seed in (0, 1)
    )
    assert not torch.equal(first, second)


def test_rows_take_their_nearest_shared_row_and_clusters_are_as_good_as_scipys():
    from scipy.cluster.vq import kmeans2

    matrix = matrix_of(1500, 24)
    compressed = compress(matrix, "row_clustering", 12)
    shared = compressed.shared.double()
    distance = torch.cdist(matrix.double(), shared)
    chosen = distance.gather(1, compressed.index.long()[:, None])[:, 0]
    torch.testing.assert_close(chosen, distance.min(1).values, rtol=1e-4, atol=1e-6)
    centroids, labels = kmeans2(
        matrix.double().numpy(), compressed.n_shared, iter=25, minit="++", seed=0
    )
    wanted = np.square(matrix.numpy() - centroids[labels]).sum()
    assert squared_error(matrix, compressed) < 1.05 * wanted


def test_frequent_rows_get_rows_of_their_own():
    matrix = matrix_of(2000, 48)
    context = context_of(2000)
    plain, weighted = (
        reconstruction(
            matrix, compress(matrix, "row_clustering", 8, context, weighting=w), context.counts
        )
        for w in ("uniform", "counts")
    )
    assert weighted.weighted_relative_error < 0.7 * plain.weighted_relative_error
