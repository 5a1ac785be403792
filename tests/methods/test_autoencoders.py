"""B21, B23 and LightToken against what is known of their optima."""

import itertools

import numpy as np
import pytest
import torch

from embpress.methods import compress
from embpress.methods.b21 import B21
from embpress.methods.b23 import B23, encode
from embpress.methods.lighttoken import _least_squares, _sign
from embpress.reconstruction import reconstruction

from .samples import context_of, matrix_of


def cosine(matrix, compressed):
    return reconstruction(matrix, compressed, context_of(len(matrix)).counts).mean_cosine


def test_b21_starts_at_pca_and_its_loss_takes_the_direction_beyond_it():
    matrix = matrix_of(1500, 48)
    u, s, v = np.linalg.svd((matrix - matrix.mean(0)).double().numpy(), full_matrices=False)
    compressed = compress(matrix, "b21", 6, epochs=20, batch_size=128)
    k = compressed.rank
    pca = torch.tensor((u[:, :k] * s[:k]) @ v[:k]).float() + matrix.mean(0)
    start = torch.cosine_similarity(pca, matrix).mean()
    assert cosine(matrix, compressed) > start
    untrained = compress(matrix, "b21", 6, epochs=1, learning_rate=1e-12)
    torch.testing.assert_close(untrained.dense(), pca, rtol=1e-3, atol=1e-4)


def test_b21_from_a_random_start_nears_the_same_direction():
    matrix = matrix_of(600, 24)
    trained = [compress(matrix, "b21", 4, start=s, epochs=80, batch_size=32, learning_rate=5e-3) for s in ("pca", "random")]
    assert cosine(matrix, trained[1]) == pytest.approx(cosine(matrix, trained[0]), abs=0.02)


def test_b21_widths_of_the_paper():
    """k for 30,522 x 768 (papers.md, section 7); the decoder's bias is counted."""
    assert [B21().plan((30522, 768), r).sizes["rank"] for r in (2.5, 5, 10, 25)] == [299, 149, 74, 29]


def test_b23_width_is_the_root_of_the_papers_quadratic():
    """a x^2 + b x + c = 0 with a = 10, b = V + 6 + 4 d, c = d + V - V d / CR: encoder dropped, norms counted."""
    for ratio in (2.5, 5, 10, 25):
        rows, d = 30522, 768
        root = max(np.roots([10, rows + 6 + 4 * d, d + rows - rows * d / ratio]))
        assert B23().plan((rows, d), ratio).sizes["latent"] == int(root)
    assert [B23().plan((30522, 768), r).sizes["latent"] for r in (2.5, 5, 10, 25)] == [258, 133, 67, 26]


def test_b23_keeps_every_rows_norm():
    matrix = matrix_of(400, 32)
    compressed = compress(matrix, "b23", 4, epochs=1)
    torch.testing.assert_close(compressed.dense().norm(dim=1), matrix.norm(dim=1), rtol=1e-4, atol=1e-5)
    free = compress(matrix, "b23", 4, epochs=1, enforce_norm=False)
    assert not free.has_norms and not torch.allclose(free.dense().norm(dim=1), matrix.norm(dim=1), rtol=1e-2)


def test_b23_starts_near_pca_and_training_betters_it():
    matrix = matrix_of(1500, 48)
    start = compress(matrix, "b23", 6, epochs=1, learning_rate=1e-12)
    u, s, v = np.linalg.svd((matrix - matrix.mean(0)).double().numpy(), full_matrices=False)
    k = start.latent_size
    pca = torch.tensor((u[:, :k] * s[:k]) @ v[:k]).float() + matrix.mean(0)
    assert cosine(matrix, start) == pytest.approx(float(torch.cosine_similarity(pca, matrix).mean()), abs=0.01)
    assert cosine(matrix, compress(matrix, "b23", 6, epochs=40, batch_size=64)) > cosine(matrix, start)


def test_leaky_relu_stands_on_the_latent_too():
    layers = [(torch.eye(2), torch.zeros(2))]
    assert encode(torch.tensor([[1.0, -1.0]]), layers).tolist() == [[1.0, pytest.approx(-0.01)]]


def test_lighttoken_decoder_is_the_least_squares_one():
    generator = torch.Generator().manual_seed(0)
    signs = _sign(torch.randn(200, 6, generator=generator))
    target = torch.randn(200, 9, generator=generator)
    weights = torch.rand(200, generator=generator)
    root = weights.double().sqrt().numpy()[:, None]
    wanted = np.linalg.lstsq(root * signs.double().numpy(), root * target.double().numpy(), rcond=None)[0]
    np.testing.assert_allclose(_least_squares(signs, target, weights).numpy(), wanted, atol=1e-5)


def test_lighttoken_cannot_beat_exhaustive_codes_and_comes_near():
    """For a fixed decoder the best code of a row is found by trying all 2^8; the encoder's one must not be far."""
    matrix = matrix_of(3000, 16)
    compressed = compress(matrix, "lighttoken", 11, rank=1)
    low_rank = compressed.left @ compressed.right
    signs = torch.tensor(list(itertools.product([-1.0, 1.0], repeat=compressed.n_bits)))
    decoded = signs @ compressed.decoder
    best = torch.cdist((matrix - low_rank).double(), decoded.double()).amin(1).square().sum()
    found = (matrix - compressed.dense()).double().square().sum()
    assert compressed.n_bits == 8
    assert best <= found <= 1.6 * best


def test_lighttoken_beats_svd_of_the_same_bits_on_rows_without_structure():
    matrix = torch.randn(4000, 64, generator=torch.Generator().manual_seed(0))
    errors = {
        m: reconstruction(matrix, compress(matrix, m, 12), context_of(4000).counts).relative_error
        for m in ("svd", "lighttoken")
    }
    assert errors["lighttoken"] < errors["svd"] - 0.05


def test_lighttoken_more_codes_than_dimensions_are_split():
    from embpress.methods.lighttoken import LightToken

    sizes = LightToken().plan((30522, 384), 4).sizes
    assert sizes["n_bits"] > 384 and sizes["n_bits"] / sizes["codes"] <= 384


@pytest.mark.parametrize("size", [1e-3, 1e3])
def test_lighttoken_is_as_good_on_rows_of_any_size(size):
    matrix = matrix_of(1500, 48)
    wanted = compress(matrix, "lighttoken", 8, epochs=3)
    found = compress(matrix * size, "lighttoken", 8, epochs=3)
    assert cosine(matrix * size, found) == pytest.approx(cosine(matrix, wanted), abs=0.005)
    assert (found.dense() / size - matrix).norm() == pytest.approx(float((wanted.dense() - matrix).norm()), rel=0.02)
