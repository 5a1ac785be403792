import numpy as np
import pytest
import torch

from embpress.methods import compress
from embpress.methods._base import Context
from embpress.methods.svd import SVD

from .samples import context_of, matrix_of


def test_error_equals_numpys_in_float64():
    matrix = matrix_of(300, 40)
    compressed = compress(matrix, "svd", 4)
    u, s, v = np.linalg.svd(matrix.double().numpy(), full_matrices=False)
    k = compressed.rank
    wanted = (u[:, :k] * s[:k]) @ v[:k]
    np.testing.assert_allclose(compressed.dense().numpy(), wanted, atol=1e-5)
    assert k == int(300 * 40 / 4 // 340)


def test_half_precision_factors_double_the_rank():
    assert (
        SVD(factor_dtype="float16").plan((3000, 400), 8).sizes["rank"]
        == 2 * SVD().plan((3000, 400), 8).sizes["rank"]
    )


def test_ranks_of_the_published_sizes():
    """Bałazy et al.'s own ranks for 30,522 x 768 at 2.5.

    5 and 10 (orientation_based_embedding_compression).
    """
    assert [SVD().plan((30522, 768), r).sizes["rank"] for r in (2.5, 5, 10)] == [299, 149, 74]


def test_ill_conditioned_matrix():
    scales = torch.logspace(0, -5, 30)
    matrix = matrix_of(200, 30) * scales
    compressed = compress(matrix, "svd", 2)
    singular = torch.linalg.svdvals(matrix.double())
    best = singular[compressed.rank :].square().sum().sqrt()
    assert (matrix - compressed.dense()).norm() <= 1.001 * best + 1e-7


def test_weighted_error_equals_numpys_in_float64():
    matrix = matrix_of(300, 40)
    context = context_of(300)
    compressed = compress(matrix, "svd", 4, context, weighting="counts")
    root = np.sqrt(context.counts.double().numpy() + 1)[:, None]
    u, s, v = np.linalg.svd(root * matrix.double().numpy(), full_matrices=False)
    k = compressed.rank
    np.testing.assert_allclose(
        compressed.dense().numpy(), (u[:, :k] * s[:k]) @ v[:k] / root, atol=1e-5
    )


@pytest.mark.parametrize("weighting", ["fisher", "l1_sensitivity"])
def test_sensitivities_weigh_as_in_fwsvd(weighting):
    matrix = matrix_of(300, 40)
    context = Context(
        sensitivity={weighting: torch.rand(300, generator=torch.Generator().manual_seed(3))}
    )
    compressed = compress(matrix, "svd", 4, context, weighting=weighting)
    # Rows are scaled by the sensitivity itself, but for the hundredth of the mean that rows without
    # any get.
    squares = context.sensitivity[weighting].double().numpy()[:, None] ** 2
    c = np.sqrt(squares + squares.mean() / 100)
    u, s, v = np.linalg.svd(c * matrix.double().numpy(), full_matrices=False)
    k = compressed.rank
    np.testing.assert_allclose(
        compressed.dense().numpy(), (u[:, :k] * s[:k]) @ v[:k] / c, atol=1e-5
    )


class OnDisk:
    """All that a fit may ask of a matrix that does not fit in memory."""

    def __init__(self, matrix):
        self.matrix = matrix
        self.shape = matrix.shape
        self.largest = 0

    def __len__(self):
        return len(self.matrix)

    def __getitem__(self, rows):
        assert isinstance(rows, slice)
        found = self.matrix[rows]
        self.largest = max(self.largest, len(found))
        return found


@pytest.mark.parametrize("dtype", ["float32", "float16", "int8"])
def test_a_matrix_on_disk_is_read_by_slices_of_rows(dtype):
    matrix = matrix_of(20_000, 24)
    method = SVD(factor_dtype=dtype)
    disk = OnDisk(matrix)
    plan = method.plan(matrix.shape, 4)
    found = method.fit(disk, plan, Context())
    wanted = method.fit(matrix, plan, Context())
    assert torch.equal(found.left, wanted.left) and torch.equal(found.dense(), wanted.dense())
    assert disk.largest < len(matrix) / 2
