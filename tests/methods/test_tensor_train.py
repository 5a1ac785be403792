"""Tensor trains against a direct TT-SVD with numpy and against the contraction of the cores."""

import math

import numpy as np
import pytest
import torch

from embpress.formats.tensor_train import balanced_columns, balanced_rows
from embpress.methods import compress, method_class
from embpress.methods._base import Context, budget_bits

from .samples import matrix_of


def tt_svd(tensor, ranks):
    """Oseledets's Algorithm 1 with numpy's SVD, contracted again."""
    a, b, c = tensor.shape
    u, s, v = np.linalg.svd(tensor.reshape(a, -1), full_matrices=False)
    first = u[:, : ranks[0]]
    rest = (s[:, None] * v)[: ranks[0]].reshape(-1, c)
    u, s, v = np.linalg.svd(rest, full_matrices=False)
    middle = u[:, : ranks[1]].reshape(len(first.T), b, -1)
    last = (s[:, None] * v)[: ranks[1]]
    return np.einsum("ap,pbq,qc->abc", first, middle, last)


@pytest.mark.parametrize("shape", [(600, 48), (500, 31), (64, 96)])
@pytest.mark.parametrize("ratio", [2, 6])
def test_as_good_as_a_direct_tt_svd(shape, ratio):
    matrix = matrix_of(*shape)
    compressed = compress(matrix, "tensor_train", ratio)
    rows, columns = compressed.row_modes, compressed.column_modes
    padded = np.zeros((math.prod(rows), shape[1]))
    padded[: shape[0]] = matrix.numpy()
    tensor = padded.reshape(*rows, *columns).transpose(0, 3, 1, 4, 2, 5)
    sizes = [v * d for v, d in zip(rows, columns)]
    wanted = tt_svd(tensor.reshape(sizes), compressed.ranks)
    wanted = wanted.reshape(tensor.shape).transpose(0, 2, 4, 1, 3, 5).reshape(padded.shape)
    np.testing.assert_allclose(compressed.dense().numpy(), wanted[: shape[0]], atol=2e-4)


def test_rows_are_the_contraction_of_the_cores():
    compressed = compress(matrix_of(600, 48), "tensor_train", 5)
    r1, r2 = compressed.ranks
    v1, v2, v3 = compressed.row_modes
    d1, d2, d3 = compressed.column_modes
    dense = torch.einsum(
        "adp,bpeq,cqf->abcdef",
        compressed.first,
        compressed.middle.view(v2, r1, d2, r2),
        compressed.last,
    ).reshape(v1 * v2 * v3, 48)
    torch.testing.assert_close(compressed.dense(), dense[:600], rtol=1e-4, atol=1e-5)


def test_full_ranks_are_exact():
    matrix = matrix_of(60, 12)
    method = method_class("tensor_train")()
    plan = method.plan((60, 12), 1)
    rows, columns = balanced_rows(60), balanced_columns(12)
    assert (rows, columns) == ((4, 4, 4), (2, 2, 3))
    plan.sizes.update({"r1": 8, "r2": 12})
    torch.testing.assert_close(method.fit(matrix, plan, Context()).dense(), matrix)


@pytest.mark.parametrize("shape", [(3000, 96), (30522, 384), (49152, 576)])
@pytest.mark.parametrize("ratio", [4, 8, 10, 16, 25])
def test_the_budget_is_spent(shape, ratio):
    plan = method_class("tensor_train")().plan(shape, ratio)
    budget = budget_bits(shape, ratio)
    assert 0 <= budget - plan.bits <= 0.02 * budget


@pytest.mark.parametrize("n", [1, 2, 7, 64, 65, 1000, 30522, 250_037])
def test_digits_cover_all_rows(n):
    modes = balanced_rows(n)
    assert math.prod(modes) >= n
    assert max(modes) <= 1 + n ** (1 / 3) * 1.01


@pytest.mark.parametrize(("d", "modes"), [(384, (6, 8, 8)), (576, (8, 8, 9)), (31, (1, 1, 31))])
def test_column_modes_are_balanced(d, modes):
    assert balanced_columns(d) == modes
