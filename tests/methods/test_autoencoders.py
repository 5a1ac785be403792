"""B21 and B23 against what is known of their optima."""

import numpy as np
import pytest
import torch

from embpress.formats.mlp_decoder import MLPDecoder
from embpress.methods import compress
from embpress.methods._base import Context
from embpress.methods.direction_autoencoder import DirectionAutoencoder, DirectionAutoencoderOptions
from embpress.methods.offline_autoencoder import OfflineAutoencoder, compute_loss, encode
from embpress.numerics.adam import Schedule

from .samples import cosine, matrix_of


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
    trained = [
        compress(matrix, "b21", 4, start=s, epochs=80, batch_size=32, learning_rate=5e-3)
        for s in ("pca", "random")
    ]
    assert cosine(matrix, trained[1]) == pytest.approx(cosine(matrix, trained[0]), abs=0.02)


def test_b21_of_squared_error_alone_is_pca_whatever_the_start():
    """The optimum of a linear autoencoder under L2 is PCA.

    Alpha 2 makes the norm term the squared error.
    """
    matrix = matrix_of(600, 24)
    u, s, v = np.linalg.svd((matrix - matrix.mean(0)).double().numpy(), full_matrices=False)
    loss = dict(cosine_weight=0.0, norm_weight=1.0, alpha_start=2.0, alpha_end=2.0)
    options = dict(start="random", epochs=150, batch_size=30, learning_rate=2e-2)
    compressed = compress(matrix, "b21", 6, **options, **loss)
    best = np.sqrt((s[compressed.rank :] ** 2).sum())
    assert best * 0.9999 <= (matrix - compressed.dense()).double().norm() <= best * 1.01


def test_b21_loss_has_the_papers_weights_and_course_of_alpha():
    options = DirectionAutoencoderOptions(epochs=30)
    assert options.cosine_weight == pytest.approx(0.1995) and options.norm_weight == 0.0025
    assert [options.alpha(e) for e in (0, 10, 20, 25, 29)] == pytest.approx(
        [1.0, 0.55, 0.1, 0.1, 0.1]
    )
    generator = torch.Generator().manual_seed(0)
    decoded = torch.randn(5, 7, generator=generator)
    rows = torch.randn(5, 7, generator=generator)
    d = decoded.double().numpy()
    r = rows.double().numpy()
    cosines = (d * r).sum(1) / np.linalg.norm(d, axis=1) / np.linalg.norm(r, axis=1)
    for weights in (torch.ones(5), torch.rand(5, generator=generator)):
        w = weights.double().numpy()
        wanted = (
            0.1995 * (w * (1 - cosines)).mean()
            + 0.0025 * (w * (np.abs(d - r) ** 0.55).mean(1)).mean()
        )
        assert float(options.loss(decoded, rows, weights, 10)) == pytest.approx(wanted, rel=1e-5)
    cosine_alone = DirectionAutoencoderOptions(cosine_weight=2.0, norm_weight=0.0)
    wanted = 2 * (w * (1 - cosines)).mean()
    assert float(cosine_alone.loss(decoded, rows, weights, 0)) == pytest.approx(wanted, rel=1e-5)


def test_b21_the_papers_recipe_is_reachable():
    matrix = matrix_of(2000, 24)
    recipe = dict(start="random", batch_size=32, epochs=30, decay="steps")
    assert cosine(matrix, compress(matrix, "b21", 4, **recipe)) > 0.7


def test_learning_rates_fall_by_halves_every_4_of_30_epochs_or_linearly():
    steps = Schedule(30, 32, 1.0, (4, 0.5))
    linear = Schedule(10, 32, 1.0)
    assert [steps.rate(e) for e in (0, 3.99, 4, 8, 29.9)] == [1, 1, 0.5, 0.25, 0.5**7]
    assert [linear.rate(e) for e in (0, 2.5, 10)] == [1, 0.75, 0]


def test_b21_with_elus_stays_above_minus_one_and_learns():
    matrix = matrix_of(800, 32)
    compressed = compress(matrix, "b21", 4, linear=False, epochs=20, batch_size=128)
    assert (
        isinstance(compressed, MLPDecoder)
        and compressed.output == "elu"
        and not compressed.has_norms
    )
    untrained = compress(matrix, "b21", 4, linear=False, epochs=1, learning_rate=1e-12)
    assert cosine(matrix, compressed) > cosine(matrix, untrained)
    assert compress(matrix * 1000, "b21", 4, linear=False, epochs=1).dense().min() >= -1


@pytest.mark.parametrize("name", ["b21", "b23"])
@pytest.mark.parametrize("size", [1e-3, 1e3])
def test_autoencoders_are_as_good_on_rows_of_any_size(name, size):
    matrix = matrix_of(600, 48)
    wanted, found = (compress(m, name, 8, epochs=3) for m in (matrix, matrix * size))
    assert cosine(matrix * size, found) == pytest.approx(cosine(matrix, wanted), abs=0.005)
    assert (found.dense() / size - matrix).norm() == pytest.approx(
        float((wanted.dense() - matrix).norm()), rel=0.02
    )


def test_b21_widths_of_the_paper():
    """k for 30,522 x 768 (papers.md, section 7); the decoder's bias is counted."""
    assert [
        DirectionAutoencoder().plan((30522, 768), r).sizes["rank"] for r in (2.5, 5, 10, 25)
    ] == [
        299,
        149,
        74,
        29,
    ]


def test_b23_width_is_the_root_of_the_papers_quadratic():
    """a x^2 + b x + c = 0 with a = 10, b = V + 6 + 4 d, c = d + V - V d / CR.

    Encoder dropped, norms counted.
    """
    for ratio in (2.5, 5, 10, 25):
        rows = 30522
        d = 768
        root = max(np.roots([10, rows + 6 + 4 * d, d + rows - rows * d / ratio]))
        assert OfflineAutoencoder().plan((rows, d), ratio).sizes["latent"] == int(root)
    assert [
        OfflineAutoencoder().plan((30522, 768), r).sizes["latent"] for r in (2.5, 5, 10, 25)
    ] == [
        258,
        133,
        67,
        26,
    ]


def test_b23_widths_of_the_decoder_are_the_papers():
    matrix = matrix_of(600, 48)
    compressed = compress(matrix, "b23", 5, epochs=3)
    x = compressed.latent_size
    sizes = [x, 2 * x, 4 * x, 48]
    floats = 600 * (x + 1) + sum(a * b + b for a, b in zip(sizes, sizes[1:]))
    assert compressed.stored_bits == 32 * floats
    assert compressed.widths == [2 * x, 4 * x] and cosine(matrix, compressed) > 0.5


def test_b23_linear_width_is_the_papers():
    """k = int((n m / CR - m - n) / (n + m)) with norms, without n where they are not enforced."""
    n = 30522
    m = 768
    for ratio in (2.5, 5, 10, 25):
        for norm in (True, False):
            wanted = int((n * m / ratio - m - n * norm) / (n + m))
            assert (
                OfflineAutoencoder(linear=True, enforce_norm=norm)
                .plan((n, m), ratio)
                .sizes["latent"]
                == wanted
            )


def test_b23_linear_starts_at_pca_and_has_no_tanh():
    matrix = matrix_of(600, 24) * 100
    compressed = compress(
        matrix, "b23", 4, linear=True, enforce_norm=False, epochs=1, learning_rate=1e-12
    )
    u, s, v = np.linalg.svd((matrix - matrix.mean(0)).double().numpy(), full_matrices=False)
    k = compressed.latent_size
    pca = torch.tensor((u[:, :k] * s[:k]) @ v[:k]).float() + matrix.mean(0)
    torch.testing.assert_close(compressed.dense(), pca, rtol=1e-3, atol=1e-3)


def test_b23_loss_has_the_papers_weights():
    generator = torch.Generator().manual_seed(0)
    decoded = torch.randn(5, 7, generator=generator)
    rows = torch.randn(5, 7, generator=generator)
    weights = torch.ones(5)
    distance = (1 - torch.cosine_similarity(decoded, rows)).mean()
    rmse = (decoded - rows).square().mean().sqrt()
    assert float(compute_loss(decoded, rows, weights)) == pytest.approx(
        float(0.9091 * distance + 0.0909 * rmse)
    )


@pytest.mark.parametrize("weighting", ["fisher", "l1_sensitivity"])
def test_b23_multiplies_errors_by_the_sensitivity_itself_as_the_authors_code(weighting):
    generator = torch.Generator().manual_seed(0)
    decoded, rows = torch.randn(2, 50, 7, generator=generator)
    sensitivity = torch.rand(50, generator=generator) + 0.1
    context = Context(sensitivity={weighting: sensitivity})
    weights = OfflineAutoencoder(weighting=weighting).row_weights(context, 50)
    shifted = sensitivity + 0.01 * sensitivity.mean()  # rows without a gradient count a little
    mean_one = shifted / shifted.mean()
    torch.testing.assert_close(weights, mean_one, rtol=1e-5, atol=0)
    distances = 1 - torch.cosine_similarity(decoded, rows)
    squares = (decoded - rows).square().mean(1)
    assert float(compute_loss(decoded, rows, weights)) == pytest.approx(
        float(0.9091 * (mean_one * distances).mean() + 0.0909 * (mean_one * squares).mean().sqrt())
    )


def test_b23_keeps_every_rows_norm():
    matrix = matrix_of(400, 32)
    compressed = compress(matrix, "b23", 4, epochs=1)
    torch.testing.assert_close(
        compressed.dense().norm(dim=1), matrix.norm(dim=1), rtol=1e-4, atol=1e-5
    )
    free = compress(matrix, "b23", 4, epochs=1, enforce_norm=False)
    assert not free.has_norms and not torch.allclose(
        free.dense().norm(dim=1), matrix.norm(dim=1), rtol=1e-2
    )


def test_b23_starts_near_pca_and_training_betters_it():
    matrix = matrix_of(1500, 48)
    start = compress(matrix, "b23", 6, epochs=1, learning_rate=1e-12)
    u, s, v = np.linalg.svd((matrix - matrix.mean(0)).double().numpy(), full_matrices=False)
    k = start.latent_size
    pca = torch.tensor((u[:, :k] * s[:k]) @ v[:k]).float() + matrix.mean(0)
    assert cosine(matrix, start) == pytest.approx(
        float(torch.cosine_similarity(pca, matrix).mean()), abs=0.02
    )
    assert cosine(matrix, compress(matrix, "b23", 6, epochs=40, batch_size=64)) > cosine(
        matrix, start
    )


def test_leaky_relu_stands_on_the_latent_too():
    layers = [(torch.eye(2), torch.zeros(2))]
    assert encode(torch.tensor([[1.0, -1.0]]), layers).tolist() == [[1.0, pytest.approx(-0.01)]]
