"""Rows that resemble more frequent ones are predicted by them, in fewer bits."""

import pytest
import torch

from embpress import storage
from embpress.fidelity.reconstruction import reconstruction
from embpress.methods import _row_references, compress
from embpress.methods._base import Context
from embpress.methods._row_references import find_references
from embpress.numerics.row_references import RowReferences


def families(n=2400, d=64, rest=0.3):
    """Rows in families of six: the first, most frequent one, and others near it; and counts."""
    generator = torch.Generator().manual_seed(0)
    heads = torch.randn(n // 6, d, generator=generator)
    matrix = heads.repeat(6, 1)
    matrix[n // 6 :] = 0.8 * matrix[n // 6 :] + rest * torch.randn(
        n - n // 6, d, generator=generator
    )
    return matrix * torch.linspace(1, 0.3, d), torch.arange(n, 0, -1)


def error_of(matrix, counts, **options):
    compressed = compress(matrix, "ectcq", 8, Context(counts), **options)
    assert compressed.ratio >= 8
    return reconstruction(matrix, compressed, counts).weighted_relative_error, compressed


def test_families_are_coded_with_a_lesser_error():
    matrix, counts = families()
    error, compressed = error_of(matrix, counts)
    alone, roots = error_of(matrix, counts, references="none")
    assert not roots.references.gain.any()
    assert error < 0.6 * alone
    gain, row = compressed.references
    related = row % 400 == torch.arange(2400).numpy() % 400
    assert (gain > 0).mean() > 0.7 and related[gain > 0].mean() > 0.95


def test_rows_are_decoded_alone_in_any_order_and_after_loading(tmp_path):
    matrix, counts = families(600)
    _, compressed = error_of(matrix, counts)
    assert compressed.references.gain.any()
    dense = compressed.dense()
    torch.testing.assert_close(
        torch.cat([compressed.rows(torch.tensor([i])) for i in range(0, 600, 7)]), dense[::7]
    )
    ids = torch.randperm(600, generator=torch.Generator().manual_seed(1))
    torch.testing.assert_close(compressed.rows(ids), dense[ids])
    storage.save(compressed, tmp_path)
    assert torch.equal(storage.load(tmp_path).dense(), dense)


def test_the_sum_of_errors_is_that_of_what_is_left():
    """A prediction does not add the root's error to the row's: what is left is coded after it."""
    matrix, counts = families(rest=0.1)
    _, compressed = error_of(matrix, counts)
    error = (compressed.dense() - matrix).square().sum(1)
    gain = torch.from_numpy(compressed.references.gain)
    tier = compressed.row_step.log2()
    for value in tier.unique():
        alike = tier == value
        if (gain[alike] > 0).any() and (gain[alike] == 0).any():
            assert error[alike & (gain > 0)].mean() < 1.3 * error[alike & (gain == 0)].mean()


@pytest.mark.parametrize("case", ["unrelated", "large", "constant"])
def test_rows_that_do_not_pay_have_no_references(case, monkeypatch):
    matrix = torch.randn(400, 24, generator=torch.Generator().manual_seed(0))
    if case == "large":
        matrix = families(600)[0]
        monkeypatch.setattr(_row_references, "MOST_VALUES", 600)
    if case == "constant":
        matrix = torch.full((400, 24), 0.5)
    compressed = compress(matrix, "ectcq", 1, Context(torch.arange(len(matrix), 0, -1)))
    assert (compressed.references.gain > 0).mean() < 0.01


@pytest.mark.parametrize(("n", "variance"), [(8, 0.0), (1, 1.0)])
def test_without_variance_or_with_a_few_rows_nothing_is_searched(n, variance):
    source = _row_references.Source(None, torch.full((4,), variance), torch.ones(n), torch.ones(n))
    found, saved = find_references(source, 4)
    assert saved == 0 and found.order.tolist() == RowReferences.none(n).order.tolist()
