import numpy as np
import pytest
import torch

from embpress.fidelity.rate_distortion import GaussianSource
from embpress.fidelity.reconstruction import reconstruction
from embpress.methods import _principal_basis, _row_quantizer, compress
from embpress.methods._base import Context
from embpress.numerics.weights import smooth_counts


def gaussian(n_rows=5000, d=96, seed=0):
    """Rows of one covariance, with a spectrum that falls as an embedding's, and Zipf counts."""
    generator = torch.Generator().manual_seed(seed)
    basis, _ = torch.linalg.qr(torch.randn(d, d, generator=generator))
    rows = torch.randn(n_rows, d, generator=generator) * torch.linspace(1, 0.2, d)
    counts = (100_000 / (torch.randperm(n_rows, generator=generator) + 1)).long()
    return 0.05 * rows @ basis + 0.01, counts


@pytest.mark.parametrize("ratio", [4, 8, 16])
@pytest.mark.parametrize("weighting", ["counts", "uniform"])
def test_gaussian_rows_come_near_the_bound_of_their_weights(ratio, weighting):
    """Rows of 96 components.

    A length, a tier and a norm for each weigh more here than on a real table.
    """
    matrix, counts = gaussian()
    compressed = compress(matrix, "ectcq", ratio, Context(counts), weighting=weighting)
    found = reconstruction(matrix, compressed, counts)
    source = GaussianSource.from_matrix(matrix)
    if weighting == "counts":
        error = found.weighted_relative_error
        bound = source.relative_error(ratio, smooth_counts(counts))
    else:
        error = found.relative_error
        bound = source.relative_error(ratio)
    assert 0 < 20 * np.log10(error / bound) < 4


def test_errors_fall_where_tokens_are_frequent():
    matrix, counts = gaussian()
    compressed = compress(matrix, "ectcq", 10, Context(counts))
    error = (compressed.dense() - matrix).square().sum(1)
    order = counts.argsort(descending=True)
    tenths = [float(error[ids].mean()) for ids in order.tensor_split(10)]
    assert all(error <= 1.01 * less_frequent for error, less_frequent in zip(tenths, tenths[1:]))
    assert tenths[0] < tenths[-1] / 15


@pytest.mark.parametrize(("ratio", "power"), [(25, 1.0), (26, 0.75)])
def test_counts_are_tempered_at_high_ratios(ratio, power):
    matrix, counts = gaussian()
    by_default, by_power = (
        compress(matrix, "ectcq", ratio, Context(counts), **options)
        for options in ({}, {"count_power": power})
    )
    assert torch.equal(by_default.stream, by_power.stream)


def test_rows_far_from_all_others_are_held():
    """What no table of its own class holds must raise the row's class, and not be cut."""
    matrix, counts = gaussian(2000, 48)
    matrix[7] *= 40
    matrix[8, 0] += 5
    counts[7] = counts[8] = 100_000
    decoded = compress(matrix, "ectcq", 6, Context(counts)).rows(torch.tensor([7, 8]))
    error = (decoded - matrix[[7, 8]]).norm(dim=1) / matrix[[7, 8]].norm(dim=1)
    assert (error < 0.02).all()


@pytest.mark.parametrize("weighting", ["counts", "uniform"])
def test_errors_fall_with_the_ratio_down_to_1_whatever_the_range_of_counts(weighting):
    matrix, counts = gaussian(3000, 64)
    counts = counts * 10_000  # as of a large corpus
    counts[counts < 10**6] = 0
    errors = []
    for ratio in (16, 8, 4, 2.5, 2, 1.5, 1):
        compressed = compress(matrix, "ectcq", ratio, Context(counts), weighting=weighting)
        found = reconstruction(matrix, compressed, counts)
        errors.append(
            found.weighted_relative_error if weighting == "counts" else found.relative_error
        )
    assert all(smaller <= larger for larger, smaller in zip(errors, errors[1:]))
    assert errors[-1] < 1e-5


@pytest.mark.parametrize("ratio", [1, 2, 4, 8])
@pytest.mark.parametrize("value", [0.0, 0.3])
def test_a_matrix_of_one_value_is_exact(value, ratio):
    matrix = torch.full((500, 16), value)
    decoded = compress(matrix, "ectcq", ratio, Context(torch.arange(500, 0, -1))).dense()
    torch.testing.assert_close(decoded, matrix, rtol=1e-6, atol=0)


def test_the_stream_is_filled():
    matrix, counts = gaussian()
    for ratio in (4, 20):
        compressed = compress(matrix, "ectcq", ratio, Context(counts))
        rest = 16 * len(compressed.words) - compressed.stop
        used = (compressed.start + int(compressed.length.sum()) + rest) / 8
        assert 0.985 < used / compressed.stream_bytes <= 1


def errors_with(monkeypatch, constant, values, ratio):
    """Weighted errors of one matrix with a constant of the method at other values."""
    matrix, counts = gaussian(2000, 64)
    errors = []
    for value in values:
        monkeypatch.setattr(_row_quantizer, constant, value)
        compressed = compress(matrix, "ectcq", ratio, Context(counts))
        errors.append(reconstruction(matrix, compressed, counts).weighted_relative_error)
    return errors


def test_the_price_of_a_bit_is_near_its_best(monkeypatch):
    """Ten times less or more is worse at the same size."""
    errors = errors_with(monkeypatch, "BIT_PRICE", (0.037, 0.37, 3.7), 16)
    assert errors[1] < min(errors[0], errors[2])


@pytest.mark.parametrize("ratio", [4, 16])
def test_the_steps_of_the_basis_are_near_their_best(monkeypatch, ratio):
    """Axes in steps 16 times as fine or as coarse are worse at the same size."""
    matrix, counts = gaussian(2000, 64)
    chosen = _principal_basis._log_steps
    errors = []
    for shift in (-4, 0, 4):
        monkeypatch.setattr(
            _principal_basis, "_log_steps", lambda *of, shift=shift: chosen(*of) + shift
        )
        compressed = compress(matrix, "ectcq", ratio, Context(counts))
        errors.append(reconstruction(matrix, compressed, counts).weighted_relative_error)
    assert errors[1] < min(errors[0], errors[2])


INGREDIENTS = {
    "counts": {"weighting": "uniform"},
    "basis": {"basis": "none"},
    "trellis": {"quantizer": "scalar"},
}


@pytest.mark.parametrize("left_out", INGREDIENTS)
@pytest.mark.parametrize("ratio", [4, 12])
def test_each_ingredient_helps(left_out, ratio):
    """Rows of one covariance with counts that fall by a power law, as in the method's argument."""
    matrix, counts = gaussian(4000, 64)
    errors = []
    for options in ({}, INGREDIENTS[left_out]):
        compressed = compress(matrix, "ectcq", ratio, Context(counts), **options)
        assert compressed.ratio >= ratio
        errors.append(reconstruction(matrix, compressed, counts).weighted_relative_error)
    assert errors[0] < 0.98 * errors[1]


def test_rounding_has_the_error_of_an_entropy_coded_uniform_quantizer():
    """1.53 dB above the bound of a Gaussian source at high rates; the trellis is nearer.

    The coder's final state takes some bits of each row.
    """
    matrix = torch.randn(600, 768, generator=torch.Generator().manual_seed(7))
    excess = []
    for quantizer in ("scalar", "trellis"):
        compressed = compress(
            matrix,
            "ectcq",
            6,
            Context(torch.ones(600, dtype=torch.int64)),
            quantizer=quantizer,
            basis="none",
        )
        error = float((matrix - compressed.dense()).square().mean())
        bits = int(compressed.length.sum())
        excess.append(10 * np.log10(error * 4 ** (bits / matrix.numel())))
    assert 1.4 < excess[0] < 1.9
    assert excess[1] < excess[0] - 0.7


def test_without_a_basis_none_is_stored():
    matrix, counts = gaussian(1000, 32)
    compressed = compress(matrix, "ectcq", 6, Context(counts), basis="none")
    assert len(compressed.coded_basis) == 0 and compressed.columns is None
    assert compressed.decode_flops(10) == 0
