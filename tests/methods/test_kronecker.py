import numpy as np
import pytest
import torch
from torch.utils.flop_counter import FlopCounterMode

from embpress.errors import InfeasibleRatio, UserError
from embpress.methods import compress
from embpress.methods.kronecker import KroneckerFactorization

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
    a = torch.randn(40, 6, generator=generator)
    b = torch.randn(1, 4, generator=generator)
    matrix = torch.kron(a, b)
    torch.testing.assert_close(
        compress(matrix, "kronecker", 3.9).dense(), matrix, rtol=1e-4, atol=1e-5
    )


def test_sizes_of_the_paper():
    """KroneckerBERT8 and 21 have 2,930,120 and 1,465,072 floats in BERT's embedding (n = 8, 16)."""
    for n, floats in ((8, 2_930_120), (16, 1_465_072)):
        plan = KroneckerFactorization().plan((30522, 768), n - 0.01)
        assert (plan.sizes["n"], plan.bits) == (n, 32 * floats)


def test_reachable_ratios_are_named():
    with pytest.raises(InfeasibleRatio, match="Kronecker reaches 2, 3, 3.99,"):
        KroneckerFactorization().plan((1000, 12), 100)
    with pytest.raises(UserError, match="terms is -1"):
        KroneckerFactorization(terms=-1)


def test_weighted_product_equals_numpys():
    matrix = matrix_of(50, 24)
    context = context_of(50)
    compressed = compress(matrix, "kronecker", 5.5, context, weighting="counts")
    n = compressed.n
    root = np.sqrt(np.repeat(context.counts.double().numpy() + 1, 24 // n))[:, None]
    u, s, v = np.linalg.svd(root * matrix.double().numpy().reshape(-1, n), full_matrices=False)
    np.testing.assert_allclose(
        compressed.dense().numpy(), (s[0] * u[:, :1] @ v[:1] / root).reshape(50, 24), atol=1e-6
    )


def test_n_may_be_chosen_and_must_fit():
    assert KroneckerFactorization(n=6).plan((1000, 12), 2).sizes["n"] == 6
    with pytest.raises(InfeasibleRatio, match="Kronecker reaches 2 on"):
        KroneckerFactorization(n=2).plan((1000, 12), 5)
    with pytest.raises(UserError, match="n is 5, but must divide d = 12"):
        KroneckerFactorization(n=5).plan((1000, 12), 2)
    with pytest.raises(UserError, match="at least terms = 4"):
        KroneckerFactorization(n=3, terms=4).plan((1000, 12), 2)


@pytest.mark.parametrize("terms", [1, 2])
def test_a_random_start_is_as_large_as_the_matrix_but_knows_nothing_of_it(terms):
    matrix = matrix_of(2000, 24)
    found = compress(matrix, "kronecker", 2.9, start="random", terms=terms)
    nearest = compress(matrix, "kronecker", 2.9, terms=terms)
    assert 0.3 < found.dense().norm() / matrix.norm() < 3
    assert abs(torch.cosine_similarity(found.dense(), matrix).mean()) < 0.05
    assert torch.cosine_similarity(nearest.dense(), matrix).mean() > 0.3
    with pytest.raises(UserError, match="start: random fits nothing"):
        KroneckerFactorization(start="random", weighting="counts")


@pytest.mark.parametrize(("m", "n", "terms"), [(2, 3, 1), (10, 12, 1), (5, 4, 7)])
def test_nearest_product_of_matrices_equals_numpys_svd_of_the_rearranged_matrix(m, n, terms):
    matrix = matrix_of(50, 24)
    compressed = compress(matrix, "kronecker", 1, m=m, n=n, terms=terms)
    rearranged = (
        matrix.double()
        .numpy()
        .reshape(50 // m, m, 24 // n, n)
        .transpose(0, 2, 1, 3)
        .reshape(-1, m * n)
    )
    u, s, v = np.linalg.svd(rearranged, full_matrices=False)
    nearest = (
        ((u[:, :terms] * s[:terms]) @ v[:terms])
        .reshape(50 // m, 24 // n, m, n)
        .transpose(0, 2, 1, 3)
        .reshape(50, 24)
    )
    np.testing.assert_allclose(compressed.dense().numpy(), nearest, atol=1e-6)
    torch.testing.assert_close(
        sum(torch.kron(a, b) for a, b in zip(compressed.a, compressed.b)), compressed.dense()
    )
    # As the paper balances them.
    torch.testing.assert_close(
        compressed.a.flatten(1).norm(dim=1), compressed.b.flatten(1).norm(dim=1), rtol=1e-4, atol=0
    )


@pytest.mark.parametrize(("m", "n", "terms"), [(2, 3, 1), (25, 12, 1), (10, 2, 2), (5, 4, 14)])
@pytest.mark.parametrize("n_vectors", [1, 30])
def test_products_of_matrices_are_exact_and_cost_what_the_paper_says(m, n, terms, n_vectors):
    compressed = compress(
        matrix_of(50, 24), "kronecker", 1 if terms == 1 else 1.001, m=m, n=n, terms=terms
    )
    x = torch.randn(n_vectors, 24, generator=torch.Generator().manual_seed(0))
    with FlopCounterMode(display=False) as counter:
        found = compressed.product(x)
    torch.testing.assert_close(found, x @ compressed.dense().T, rtol=1e-4, atol=1e-5)
    torch.testing.assert_close(compressed.product(x[0]), found[0], rtol=1e-4, atol=1e-5)
    assert counter.get_total_flops() == compressed.product_flops(n_vectors)
    # The paper's count has one addition less in each sum; A is (m1, n1), B (m2, n2).
    m1 = 50 // m
    n1 = 24 // n
    m2 = m
    n2 = n
    paper = min(
        (2 * n2 - 1) * m2 * n1 + (2 * n1 - 1) * m2 * m1,
        (2 * n1 - 1) * n2 * m1 + (2 * n2 - 1) * m2 * m1,
    )
    sums = {"b": m2 * n1 + m2 * m1, "a": n2 * m1 + m2 * m1}
    if terms == 1:
        assert compressed.product_flops(n_vectors) in [
            n_vectors * (paper + extra) for extra in sums.values()
        ]


def test_gradients_reach_both_factors():
    compressed = compress(matrix_of(50, 24), "kronecker", 2, m=2, n=2)
    compressed.a = compressed.a.requires_grad_()
    compressed.b = compressed.b.requires_grad_()
    compressed.product(torch.randn(3, 24)).square().sum().backward()
    assert float(compressed.a.grad.abs().min()) > 0 and float(compressed.b.grad.abs().min()) > 0


def test_shapes_of_b_are_the_smallest_that_fit_and_nearest_a_square():
    assert KroneckerFactorization(m=0).plan((384, 384), 3.9).sizes == {"m": 2, "n": 2, "terms": 1}
    assert KroneckerFactorization(m=0).plan((384, 1536), 8).sizes == {"m": 3, "n": 3, "terms": 1}
    many = KroneckerFactorization(m=0, terms=0).plan((384, 1536), 4)
    assert many.sizes == {"m": 24, "n": 48, "terms": 88} and many.bits == 32 * 88 * (
        16 * 32 + 24 * 48
    )
    assert KroneckerFactorization(terms=0).plan((3000, 64), 4).sizes == {"m": 1, "n": 8, "terms": 1}
    with pytest.raises(InfeasibleRatio, match="reaches at most"):
        KroneckerFactorization(m=0, terms=0).plan((384, 384), 1e5)
    with pytest.raises(UserError, match="options m and n are 7 and 0, but must divide 384 x 384"):
        KroneckerFactorization(m=7).plan((384, 384), 2)
    with pytest.raises(UserError, match="weights rows only with m: 1"):
        KroneckerFactorization(m=2, weighting="counts")


def test_a_random_start_has_the_size_of_the_matrix():
    matrix = matrix_of(200, 48)
    compressed = compress(matrix, "kronecker", 1.9, m=10, n=12, start="random", terms=3)
    assert compressed.dense().square().mean().sqrt() == pytest.approx(
        float(matrix.square().mean().sqrt()), rel=0.3
    )
