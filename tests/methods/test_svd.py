import numpy as np
import torch

from embpress.methods import compress
from embpress.methods.svd import SVD

from .samples import matrix_of


def test_error_equals_numpys_in_float64():
    matrix = matrix_of(300, 40)
    compressed = compress(matrix, "svd", 4)
    u, s, v = np.linalg.svd(matrix.double().numpy(), full_matrices=False)
    k = compressed.rank
    wanted = (u[:, :k] * s[:k]) @ v[:k]
    np.testing.assert_allclose(compressed.dense().numpy(), wanted, atol=1e-5)
    assert k == int(300 * 40 / 4 // 340)


def test_half_precision_factors_double_the_rank():
    assert SVD(factor_dtype="float16").plan((3000, 400), 8).sizes["rank"] == 2 * SVD().plan((3000, 400), 8).sizes["rank"]


def test_ranks_of_the_published_sizes():
    """Bałazy et al.'s own ranks for 30,522 x 768 at 2.5, 5 and 10 (orientation_based_embedding_compression)."""
    assert [SVD().plan((30522, 768), r).sizes["rank"] for r in (2.5, 5, 10)] == [299, 149, 74]


def test_ill_conditioned_matrix():
    scales = torch.logspace(0, -5, 30)
    matrix = matrix_of(200, 30) * scales
    compressed = compress(matrix, "svd", 2)
    singular = torch.linalg.svdvals(matrix.double())
    best = singular[compressed.rank :].square().sum().sqrt()
    assert (matrix - compressed.dense()).norm() <= 1.001 * best + 1e-7
