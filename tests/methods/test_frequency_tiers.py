import pytest
import torch

from embpress.errors import InfeasibleRatio
from embpress.fidelity.reconstruction import reconstruction
from embpress.methods import compress
from embpress.methods._base import Context
from embpress.methods.frequency_tiers import WIDTHS, FrequencyTiers, _choose_widths

from .samples import context_of, matrix_of


def widths_of(compressed):
    """Width of each row."""
    widths = torch.tensor([part.width for part in compressed.parts])
    return widths[compressed.tier_of_row.long()]


def test_frequent_rows_have_wider_codes():
    matrix = torch.nn.functional.normalize(matrix_of(400, 48), dim=1)
    context = context_of(400)
    compressed = compress(matrix, "tiers", 10, context)
    widths = widths_of(compressed)
    order = context.counts.argsort(descending=True)
    assert (widths[order].diff() <= 0).all()
    assert widths.max() >= widths.min() + 4


def test_widths_are_the_best_of_all_for_their_bits():
    """By dynamic programming over few rows."""
    errors = [0.4, 0.12, 0.04, 0.02, 0.006, 0.002, 0.0001]
    weighted = torch.tensor([100.0, 30.0, 1.0, 0.3, 0.1])
    for code_bits in (5, 8, 14, 22, 40):
        best = {0: 0.0}
        for w in weighted.tolist():
            best = {
                bits: min(
                    best[bits - width] + w * error
                    for width, error in zip(WIDTHS, errors)
                    if bits - width in best
                )
                for bits in {b + width for b in best for width in WIDTHS if b + width <= code_bits}
            }
        choice = _choose_widths(weighted.double(), errors, 1, code_bits)
        used = sum(WIDTHS[k] for k in choice)
        assert used <= code_bits
        total = sum(w * errors[k] for w, k in zip(weighted.tolist(), choice.tolist()))
        assert total == pytest.approx(best[used], rel=1e-6)


@pytest.mark.parametrize("ratio", [4, 10, 20])
def test_the_padding_is_little_and_the_size_is_the_planned_one(ratio):
    plan = FrequencyTiers().plan((3000, 96), ratio)
    compressed = compress(matrix_of(3000, 96), "tiers", ratio, context_of(3000))
    assert compressed.stored_bits == plan.bits
    assert 8 * compressed.padding_bytes < 0.01 * plan.bits


def test_weighted_error_is_less_than_of_integers_of_the_same_size():
    matrix = matrix_of(2000, 96)
    context = context_of(2000)
    errors = [
        reconstruction(matrix, compress(matrix, name, 8, context), context.counts)
        for name in ("tiers", "integer")
    ]
    assert errors[0].weighted_relative_error < 0.6 * errors[1].weighted_relative_error


def test_without_counts_energy_alone_decides():
    matrix = matrix_of(400, 48)
    compressed = compress(matrix, "tiers", 8, Context(), weighting="uniform")
    order = matrix.square().sum(1).argsort(descending=True)
    assert (widths_of(compressed)[order].diff() <= 0).all()


def test_the_highest_ratio_is_named():
    with pytest.raises(InfeasibleRatio, match="frequency tiers reaches at most 30"):
        FrequencyTiers().plan((30522, 384), 31)
