import numpy as np
import pytest
import torch

from embpress.errors import InfeasibleRatio, UserError
from embpress.methods import compress
from embpress.methods._base import Context
from embpress.methods.vocabulary_pruning import VocabularyPruning

from .samples import context_of, matrix_of
from .test_integer import RowsOnly


def kept_of(context, n_kept):
    """The special rows and the most frequent others, as a sort by count and id finds them."""
    order = sorted(
        range(len(context.counts)),
        key=lambda i: (i not in context.special_ids, -int(context.counts[i]), i),
    )
    return np.isin(np.arange(len(context.counts)), order[:n_kept])


@pytest.mark.parametrize("dtype", ["float32", "float16"])
def test_frequent_and_special_rows_are_exact_and_others_their_mean(dtype):
    matrix = matrix_of(500, 31)
    context = context_of(500)
    compressed = compress(matrix, "prune", 4, context, factor_dtype=dtype)
    kept = kept_of(context, compressed.n_kept)
    assert kept[list(context.special_ids)].all()
    wanted = matrix.double().numpy().copy()
    wanted[~kept] = wanted[~kept].mean(0)
    tolerance = {"float32": 1e-6, "float16": 2e-3}[dtype]
    np.testing.assert_allclose(
        compressed.dense().numpy(),
        wanted,
        rtol=tolerance,
        atol=1e-7 if dtype == "float32" else 1e-5,
    )
    assert (
        compressed.n_kept
        == (500 * 31 * 32 // 4 - 504) // (31 * (32 if dtype == "float32" else 16)) - 1
    )


def test_others_may_be_the_unknown_token():
    matrix = matrix_of(500, 31)
    context = context_of(500)
    compressed = compress(matrix, "prune", 4, context, others="unk", unk_id=499)
    kept = kept_of(context, compressed.n_kept)
    assert (compressed.dense()[~kept] == matrix[499]).all()
    assert (compressed.dense()[kept] == matrix[kept]).all()


def test_unknown_token_must_be_named_and_exist():
    with pytest.raises(UserError, match="unk_id.*others: unk"):
        VocabularyPruning(others="unk")
    with pytest.raises(UserError, match="unk_id.*others: mean"):
        VocabularyPruning(unk_id=3)
    with pytest.raises(UserError, match="unk_id is 600, but the matrix has 500 rows"):
        compress(matrix_of(500, 8), "prune", 4, context_of(500), others="unk", unk_id=600)


def test_needs_counts_and_room_for_special_tokens():
    with pytest.raises(UserError, match="needs token counts"):
        compress(matrix_of(500, 8), "prune", 4)
    with pytest.raises(UserError, match="21 special tokens"):
        compress(
            matrix_of(500, 8), "prune", 25, Context(torch.ones(500), special_ids=tuple(range(21)))
        )
    with pytest.raises(InfeasibleRatio, match="vocabulary pruning reaches at most"):
        VocabularyPruning().plan((500, 8), 300)


def test_all_rows_are_kept_where_half_precision_leaves_room():
    matrix = matrix_of(500, 31)
    compressed = compress(matrix, "prune", 1.5, context_of(500), factor_dtype="float16")
    assert compressed.n_kept == 500
    assert torch.equal(compressed.dense(), matrix.half().float())


def test_product_in_other_types_is_the_dense_one():
    compressed = compress(matrix_of(500, 31), "prune", 4, context_of(500))
    x = torch.randn(2, 31, generator=torch.Generator().manual_seed(0)).double()
    torch.testing.assert_close(compressed.product(x), x @ compressed.dense().double().T)


def test_matrix_is_read_by_blocks_of_rows():
    matrix = matrix_of(9000, 12)
    context = context_of(9000)
    plan = VocabularyPruning().plan((9000, 12), 5)
    reader = RowsOnly(matrix)
    streamed = VocabularyPruning().fit(reader, plan, context)
    streamed.prepare()
    assert reader.longest <= 4096
    assert torch.equal(streamed.dense(), compress(matrix, "prune", 5, context).dense())
