"""Group residual vector quantization against numpy and scipy; what the adaptor adds."""

import numpy as np
import pytest
import torch
from scipy.cluster.vq import kmeans2

from embpress.errors import UserError
from embpress.methods import compress, method_class
from embpress.methods._base import budget_bits
from embpress.numerics.small_codebooks import k_means_of_16, nearest_centroids

from .samples import context_of, matrix_of


def test_k_means_is_scipys_from_the_same_start():
    points = np.random.default_rng(0).standard_normal((3000, 8)).astype(np.float32)
    ones = np.ones(3000, dtype=np.float32)
    found = k_means_of_16(points, ones, points[:16], 7)
    wanted, _ = kmeans2(points.astype(np.float64), points[:16].astype(np.float64), iter=7)
    np.testing.assert_allclose(found, wanted, rtol=1e-3, atol=1e-3)


def test_weights_count_as_repetitions():
    generator = np.random.default_rng(1)
    points = generator.standard_normal((500, 4)).astype(np.float32)
    repeats = generator.integers(1, 5, 500)
    weighted = k_means_of_16(points, repeats.astype(np.float32), points[:16], 5)
    ones = np.ones(repeats.sum(), dtype=np.float32)
    repeated = k_means_of_16(np.repeat(points, repeats, axis=0), ones, points[:16], 5)
    np.testing.assert_allclose(weighted, repeated, rtol=1e-4, atol=1e-5)


def test_nearest_centroids_are_those_of_all_distances():
    points = np.random.default_rng(2).standard_normal((400, 5)).astype(np.float32)
    centroids = points[50:66]
    distance = ((points[:, None] - centroids) ** 2).sum(2)
    np.testing.assert_array_equal(nearest_centroids(points, centroids), distance.argmin(1))


@pytest.mark.parametrize("d", [48, 31])
@pytest.mark.parametrize("ratio", [4, 8, 12])
def test_rows_are_greedy_sums_of_the_stored_centroids(d, ratio):
    """Each group is encoded again with numpy, code after code."""
    matrix = matrix_of(900, d)
    compressed = compress(matrix, "carvq", ratio, adaptor=False)
    block, n_codes, _, _ = compressed.sizes
    groups = -(-d // block)
    marked = compressed.extra.nonzero()[:, 0].tolist()
    order = [j % groups for j in range(n_codes // groups * groups)] + marked
    assert len(order) == n_codes and len(marked) == n_codes % groups
    residual = np.pad(matrix.numpy(), ((0, 0), (0, groups * block - d)))
    books = compressed.codebook.float().view(n_codes, 16, block).numpy()
    for book, group in zip(books, order):
        columns = slice(group * block, (group + 1) * block)
        distance = ((residual[:, None, columns] - book) ** 2).sum(2)
        residual[:, columns] -= book[distance.argmin(1)]
    np.testing.assert_allclose(
        (matrix - compressed.dense()).norm(), np.linalg.norm(residual[:, :d]), rtol=1e-4
    )


def test_the_adaptor_corrects_what_the_codes_miss():
    matrix = matrix_of(2000, 64)
    method = method_class("carvq")()
    plan = method.plan((2000, 64), 12)
    context = context_of(2000)
    corrected = method.fit(matrix, plan, context)
    plain_sizes = plan.sizes | {"latent": 0, "hidden": 0}
    plan.sizes.update(plain_sizes)
    plain = method.fit(matrix, plan, context)
    corrected.prepare()
    plain.prepare()
    assert torch.equal(corrected.codes, plain.codes)
    error, plain_error = (float((matrix - m.dense()).square().sum()) for m in (corrected, plain))
    latent, hidden = corrected.sizes.latent, corrected.sizes.hidden
    assert 1 <= latent <= hidden
    # At least what the principal components of the residual explain.
    singular = torch.linalg.svdvals(matrix - plain.dense())
    assert error <= plain_error - 0.9 * float(singular[:latent].square().sum())


@pytest.mark.parametrize("adaptor", [True, False])
@pytest.mark.parametrize("shape", [(30522, 384), (49152, 576)])
@pytest.mark.parametrize("ratio", [4, 8, 10, 16, 25])
def test_the_budget_is_spent(adaptor, shape, ratio):
    plan = method_class("carvq")(adaptor=adaptor).plan(shape, ratio)
    budget = budget_bits(shape, ratio)
    assert 0 <= budget - plan.bits <= 0.025 * budget


def test_three_codes_and_the_adaptor_take_about_the_papers_bits():
    """The paper reports about 1.6 bits a value, at d = 2048 and more."""
    method = method_class("carvq")()
    sizes = ("block", "codes", "latent", "hidden")
    plan = method.plan((128_256, 2048), 32 / 1.7)
    assert plan.sizes["codes"] // (2048 // 8) == 3
    assert set(sizes) == set(plan.sizes)
    assert 16 <= plan.sizes["latent"] <= 24


def test_unusable_options_are_refused():
    with pytest.raises(UserError, match="block"):
        method_class("carvq")(block=0)
