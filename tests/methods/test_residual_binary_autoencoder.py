"""LightToken against what is known of its optimum."""

import itertools

import numpy as np
import pytest
import torch

from embpress import storage
from embpress.errors import InfeasibleRatio, UserError
from embpress.fidelity.reconstruction import reconstruction
from embpress.methods import compress
from embpress.methods.residual_binary_autoencoder import (
    ResidualBinaryAutoencoder,
    ResidualBinaryAutoencoderOptions,
    _least_squares,
    _sign,
)

from .samples import context_of, cosine, matrix_of


def test_lighttoken_decoder_is_the_least_squares_one():
    generator = torch.Generator().manual_seed(0)
    signs = _sign(torch.randn(200, 6, generator=generator))
    target = torch.randn(200, 9, generator=generator)
    weights = torch.rand(200, generator=generator)
    root = weights.double().sqrt().numpy()[:, None]
    wanted = np.linalg.lstsq(
        root * signs.double().numpy(), root * target.double().numpy(), rcond=None
    )[0]
    np.testing.assert_allclose(_least_squares(signs, target, weights).numpy(), wanted, atol=1e-5)


def test_lighttoken_cannot_beat_exhaustive_codes_and_comes_near():
    """For a fixed decoder the best code of a row is found by trying all 2^8.

    The encoder's one must not be far.
    """
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


def test_lighttoken_without_a_low_rank_part_is_better_on_narrow_rows(tmp_path):
    """Four float32 numbers a row are 128 bits, which at a high ratio are worth more as codes."""
    matrix = torch.randn(4000, 64, generator=torch.Generator().manual_seed(0))
    context = context_of(4000)
    errors = []
    for rank in (0, 1):
        compressed = compress(matrix, "lighttoken", 25, context, rank=rank)
        errors.append(reconstruction(matrix, compressed, context.counts).relative_error)
        assert compressed.rank == rank
    storage.save(compressed, tmp_path)
    assert torch.equal(storage.load(tmp_path).dense(), compressed.dense())
    assert errors[0] < errors[1]


def test_lighttoken_codes_of_a_width():
    plan = ResidualBinaryAutoencoder(rank=8, codes=2, width=256).plan((30522, 768), 20)
    assert plan.sizes == {"rank": 8, "n_bits": 512, "codes": 2}
    # 20.7x for r = 8 and two codes of 256 bits (papers.md, section 7)
    assert 32 * 30522 * 768 / plan.bits == pytest.approx(20.7, abs=0.05)
    with pytest.raises(InfeasibleRatio, match="LightToken reaches at most 20.7 on"):
        ResidualBinaryAutoencoder(rank=8, codes=2, width=256).plan((30522, 768), 21)
    with pytest.raises(UserError, match="1 x 12 bits, but a row.s codes must be whole bytes"):
        ResidualBinaryAutoencoder(codes=1, width=12)
    with pytest.raises(UserError, match="width is 64, but a code has at most d = 48"):
        ResidualBinaryAutoencoder(width=64).plan((600, 48), 4)


def test_lighttoken_joint_training_lowers_the_loss_of_the_greedy_stages():
    matrix = matrix_of(3000, 48)
    greedy, joint = (
        compress(matrix, "lighttoken", 8, training=t, epochs=5) for t in ("greedy", "joint")
    )
    size = matrix.square().sum(1).mean()

    def loss(compressed):
        dense = compressed.dense()
        distance = (1 - torch.cosine_similarity(dense, matrix)).mean()
        return float(distance + (dense - matrix).square().sum(1).mean() / size)

    assert loss(joint) < loss(greedy)


def test_lighttoken_more_codes_than_dimensions_are_split():
    sizes = ResidualBinaryAutoencoder().plan((30522, 384), 4).sizes
    assert sizes["n_bits"] > 384 and sizes["n_bits"] / sizes["codes"] <= 384


@pytest.mark.parametrize("size", [1e-3, 1e3])
def test_lighttoken_is_as_good_on_rows_of_any_size(size):
    matrix = matrix_of(1500, 48)
    wanted = compress(matrix, "lighttoken", 8, epochs=3)
    found = compress(matrix * size, "lighttoken", 8, epochs=3)
    assert cosine(matrix * size, found) == pytest.approx(cosine(matrix, wanted), abs=0.005)
    assert (found.dense() / size - matrix).norm() == pytest.approx(
        float((wanted.dense() - matrix).norm()), rel=0.02
    )


def test_a_loss_that_plays_no_part_is_refused():
    with pytest.raises(UserError, match="cosine_weight.*joint"):
        ResidualBinaryAutoencoderOptions(cosine_weight=0.0)
    assert ResidualBinaryAutoencoderOptions(cosine_weight=0.0, training="joint").codes == 2
