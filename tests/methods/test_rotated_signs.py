import numpy as np
import pytest
import torch

from embpress.errors import InfeasibleRatio, UserError
from embpress.methods import compress
from embpress.methods._base import Context
from embpress.methods.rotated_signs import SignQuantization, _fit_stages

from ..numerics.test_rotation import dense
from .samples import context_of, matrix_of
from .test_integer import RowsOnly, error_of


def ratio_of(stages, d):
    """The ratio at which this many stages are used."""
    return 32 * d / (stages * (8 * -(-d // 8) + 16))


# Shares of variance that the best quantizers of a Gaussian variable leave (Max 1960), by bits.
MAX = {1: 0.3634, 2: 0.1175, 3: 0.03454, 4: 0.009497}


@pytest.mark.parametrize("d", [48, 31, 5])
@pytest.mark.parametrize("stages", [1, 3])
def test_stored_numbers_decode_by_the_stated_formula(d, stages):
    compressed = compress(matrix_of(40, d), "signs", ratio_of(stages, d), context_of(40, seed=3))
    bits = np.unpackbits(compressed.codes.numpy(), axis=2, bitorder="little")[:, :, :d]
    rotated = ((2.0 * bits - 1) * compressed.scale.double().numpy()[:, :, None]).sum(1)
    np.testing.assert_allclose(compressed.dense().numpy(), rotated @ dense(d, 3).T, atol=1e-5)
    assert compressed.stored_bits == 40 * stages * (8 * -(-d // 8) + 16)


def test_one_stage_is_the_sign_times_the_mean_absolute_value():
    matrix = matrix_of(60, 64).double().numpy()
    rotated = matrix @ dense(64, 0)
    wanted = np.sign(rotated) * np.abs(rotated).mean(1, keepdims=True)
    found = compress(torch.from_numpy(matrix), "signs", ratio_of(1, 64)).dense().numpy()
    np.testing.assert_allclose(
        found, wanted @ dense(64, 0).T, rtol=2e-3, atol=1e-3 * np.abs(matrix).max()
    )


@pytest.mark.parametrize("stages", [1, 2, 3, 4])
def test_gaussian_rows_are_quantized_as_well_as_can_be(stages):
    matrix = torch.randn(300, 768, generator=torch.Generator().manual_seed(0))
    error = error_of(compress(matrix, "signs", ratio_of(stages, 768)), matrix) ** 2
    assert 0.95 * MAX[stages] < error < (1.2 if stages > 3 else 1.12) * MAX[stages]


def test_rotation_makes_rows_of_outliers_as_easy_as_any():
    matrix = 0.01 * torch.randn(200, 96, generator=torch.Generator().manual_seed(0))
    matrix[torch.arange(200), torch.arange(200) % 96] = 1
    assert error_of(compress(matrix, "signs", ratio_of(2, 96)), matrix) < 0.35
    assert error_of(compress(matrix, "integer", 10, bits=2), matrix) > 0.35


@pytest.mark.parametrize("stages", [2, 4, 8])
def test_refits_only_help(stages):
    matrix = matrix_of(200, 48)
    errors = []
    for refits in (0, 1, 4):
        scale, signs = _fit_stages(matrix, stages, 0, refits)
        errors.append(((scale.float()[:, None] @ signs)[:, 0] - matrix).norm(dim=1))
    assert (errors[1] <= errors[0] * (1 + 1e-5)).all()
    assert (errors[2] <= errors[1] * (1 + 1e-5)).all()
    assert errors[2].sum() < errors[0].sum()


def test_as_many_stages_as_fit_and_one_more_for_some_rows():
    for ratio, stages in ((30.7, 1), (15.3, 2), (10.2, 3), (4, 7), (1, 8)):
        assert SignQuantization().plan((1000, 384), ratio).sizes["stages"] == stages
    # 768,000 bits are 920 rows more than the 400,000 of one stage; 1,000 are the map of the tiers.
    assert SignQuantization().plan((1000, 384), 16).sizes == {"stages": 1, "n_more": 917}
    with pytest.raises(InfeasibleRatio, match="reaches at most 30.72"):
        SignQuantization().plan((1000, 384), 31)


def test_rows_of_most_weighted_energy_have_one_stage_more():
    matrix = matrix_of(300, 48)
    context = context_of(300)
    n_more = SignQuantization().plan((300, 48), 16).sizes["n_more"]
    compressed = compress(matrix, "signs", 16, context)
    order = (matrix.square().sum(1) * (context.counts + 1)).argsort(descending=True)
    assert set(order[:n_more].tolist()) == set(
        (compressed.tier_of_row == 0).nonzero()[:, 0].tolist()
    )
    for number, stages in enumerate((2, 1)):
        ids = (compressed.tier_of_row == number).nonzero().flatten()
        alone = compress(matrix[ids], "signs", ratio_of(stages, 48))
        torch.testing.assert_close(compressed.rows(ids), alone.dense())


def test_zero_rows_stay_zero_and_rows_beyond_fp16_are_refused():
    matrix = matrix_of(30, 16)
    matrix[5] = 0
    assert (compress(matrix, "signs", 5).dense()[5] == 0).all()
    matrix[7, 2] = 1e8
    with pytest.raises(UserError, match="row 7 .*fp16"):
        compress(matrix, "signs", 5)


def test_other_seeds_rotate_otherwise_and_are_kept(tmp_path):
    matrix = matrix_of(50, 48)
    first, second = (
        compress(matrix, "signs", ratio_of(3, 48), Context(seed=seed)) for seed in (0, 1)
    )
    assert not torch.equal(first.codes, second.codes)
    assert first.config()["seed"] == 0 and second.config()["seed"] == 1


def test_matrix_is_read_by_blocks_of_rows():
    matrix = matrix_of(9000, 12)
    plan = SignQuantization().plan((9000, 12), 5)
    reader = RowsOnly(matrix)
    streamed = SignQuantization().fit(reader, plan, Context())
    assert reader.longest <= 4096
    assert torch.equal(streamed.dense(), compress(matrix, "signs", 5).dense())
