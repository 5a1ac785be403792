import numpy as np
import pytest
import torch

from embpress.errors import InfeasibleRatio, UserError
from embpress.methods import compress
from embpress.methods.kronecker import KroneckerBERT

from .samples import context_of, matrix_of


@pytest.mark.parametrize("terms", [1, 3])
def test_nearest_product_equals_numpys_svd_of_the_rearranged_matrix(terms):
    matrix = matrix_of(50, 24)
    compressed = compress(matrix, "kronecker", 5.5 if terms == 1 else 1.5, terms=terms)
    n = compressed.n
    u, s, v = np.linalg.svd(matrix.double().numpy().reshape(-1, n), full_matrices=False)
    wanted = ((u[:, :terms] * s[:terms]) @ v[:terms]).reshape(50, 24)
    np.testing.assert_allclose(compressed.dense().numpy(), wanted, atol=1e-6)


def test_order_is_torch_krons():
    compressed = compress(matrix_of(30, 12), "kronecker", 2.9)
    dense = torch.kron(compressed.a[0], compressed.b)
    torch.testing.assert_close(compressed.dense(), dense)


def test_an_exact_product_is_found():
    generator = torch.Generator().manual_seed(0)
    a, b = torch.randn(40, 6, generator=generator), torch.randn(1, 4, generator=generator)
    matrix = torch.kron(a, b)
    torch.testing.assert_close(compress(matrix, "kronecker", 3.9).dense(), matrix, rtol=1e-4, atol=1e-5)


def test_sizes_of_the_paper():
    """KroneckerBERT8 and 21 hold 2,930,120 and 1,465,072 floats in BERT's embedding (n = 8 and 16)."""
    for n, floats in ((8, 2_930_120), (16, 1_465_072)):
        plan = KroneckerBERT().plan((30522, 768), n - 0.01)
        assert (plan.sizes["n"], plan.bits) == (n, 32 * floats)


def test_reachable_ratios_are_named():
    with pytest.raises(InfeasibleRatio, match="Kronecker reaches 1, 2, 3,"):
        KroneckerBERT().plan((1000, 12), 100)
    with pytest.raises(UserError, match="at least one"):
        KroneckerBERT(terms=-1)


def test_weighted_product_equals_numpys():
    matrix, context = matrix_of(50, 24), context_of(50)
    compressed = compress(matrix, "kronecker", 5.5, context, weighting="counts")
    n = compressed.n
    root = np.sqrt(np.repeat(context.counts.double().numpy() + 1, 24 // n))[:, None]
    u, s, v = np.linalg.svd(root * matrix.double().numpy().reshape(-1, n), full_matrices=False)
    np.testing.assert_allclose(compressed.dense().numpy(), (s[0] * u[:, :1] @ v[:1] / root).reshape(50, 24), atol=1e-6)


def test_n_may_be_chosen_and_must_fit():
    assert KroneckerBERT(n=6).plan((1000, 12), 2).sizes["n"] == 6
    with pytest.raises(InfeasibleRatio, match="Kronecker reaches 2 on"):
        KroneckerBERT(n=2).plan((1000, 12), 5)
    with pytest.raises(UserError, match="n is 5, but must divide d = 12"):
        KroneckerBERT(n=5).plan((1000, 12), 2)
    with pytest.raises(UserError, match="at least terms = 4"):
        KroneckerBERT(n=3, terms=4).plan((1000, 12), 2)


@pytest.mark.parametrize("terms", [1, 2])
def test_a_random_start_is_as_large_as_the_matrix_but_knows_nothing_of_it(terms):
    matrix = matrix_of(2000, 24)
    found = compress(matrix, "kronecker", 2.9, start="random", terms=terms)
    nearest = compress(matrix, "kronecker", 2.9, terms=terms)
    assert 0.3 < found.dense().norm() / matrix.norm() < 3
    assert abs(torch.cosine_similarity(found.dense(), matrix).mean()) < 0.05
    assert torch.cosine_similarity(nearest.dense(), matrix).mean() > 0.3
    with pytest.raises(UserError, match="start: random fits nothing"):
        KroneckerBERT(start="random", weighting="counts")
