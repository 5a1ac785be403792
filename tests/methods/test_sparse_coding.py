import numpy as np
import pytest
import torch
from sklearn.manifold._locally_linear import barycenter_weights
from sklearn.neighbors import NearestNeighbors

from embpress.errors import UserError
from embpress.methods import compress
from embpress.methods import sparse_coding as t24
from embpress.methods._base import Context
from embpress.methods.sparse_coding import SparseCoding, select_kept_rows
from embpress.numerics import bits

from .samples import context_of, matrix_of


def test_whole_fit_equals_a_slow_one():
    matrix = matrix_of(300, 64)
    context = context_of(300)
    compressed = compress(matrix, "t24", 3, context)
    rows = matrix.double().numpy()
    kept = np.sort(
        np.argsort(
            -np.where(np.isin(np.arange(300), context.special_ids), np.inf, context.counts.numpy()),
            kind="stable",
        )[: compressed.n_kept]
    )
    search = NearestNeighbors(n_neighbors=10, metric="cosine", algorithm="brute").fit(rows[kept])
    for i in sorted(set(range(300)) - set(kept))[:40]:
        near = search.kneighbors(rows[i : i + 1], return_distance=False)
        weights = barycenter_weights(rows[i : i + 1], rows[kept], near, reg=1e-4)
        np.testing.assert_allclose(
            compressed.dense()[i].numpy(), weights[0] @ rows[kept][near[0]], atol=1e-4
        )


def test_blocks_and_threads_change_no_row(monkeypatch):
    matrix = matrix_of(300, 64)
    context = context_of(300)
    before = torch.get_num_threads()
    whole = compress(matrix, "t24", 3, context).dense()
    monkeypatch.setattr(t24, "BLOCK", 7)
    try:
        torch.set_num_threads(3)
        found = compress(matrix, "t24", 3, context)
    finally:
        torch.set_num_threads(before)
    torch.testing.assert_close(found.dense(), whole, rtol=1e-4, atol=1e-6)


def test_kept_rows_are_exact_and_special_ones_always_among_them():
    matrix = matrix_of(300, 64)
    context = context_of(300)
    compressed = compress(matrix, "t24", 4, context)
    kept = bits.gather(compressed.is_kept, torch.arange(300), 1).bool()
    assert int(kept.sum()) == compressed.n_kept
    assert torch.equal(compressed.rows(kept.nonzero().flatten()), matrix[kept])
    assert kept[list(context.special_ids)].all()
    rest = [i for i in range(300) if i not in context.special_ids]
    assert context.counts[rest][kept[rest]].min() >= context.counts[rest][~kept[rest]].max()


def test_ties_go_to_the_lower_id():
    assert select_kept_rows(torch.tensor([1, 5, 5, 5, 0]), (4,), 3).tolist() == [
        False,
        True,
        True,
        False,
        True,
    ]


def hubs():
    """80 frequent rows of which the last 40 are short, 30 rare ones each near one of the first.

    And counts.
    """
    generator = torch.Generator().manual_seed(0)
    directions = torch.nn.functional.normalize(torch.randn(40, 16, generator=generator), dim=1)
    short = 0.01 * torch.randn(40, 16, generator=generator)
    rare = directions[:30] + 0.05 * torch.randn(30, 16, generator=generator)
    matrix = torch.cat([3 * directions, short, rare])
    return matrix, torch.cat([torch.full((80,), 9), torch.zeros(30, dtype=torch.int64)])


def test_neighbours_are_by_cosine_and_not_by_distance():
    matrix, counts = hubs()
    method = SparseCoding(neighbours=2)
    plan = method.plan((110, 16), 32 * 110 * 16 / method._bits((110, 16), 80))
    compressed = method.fit(matrix, plan, Context(counts))
    compressed.prepare()
    index = bits.gather(compressed.index, torch.arange(60), compressed.index_width).view(30, 2)
    assert (index[:, 0] == torch.arange(30)).all()


def test_euclidean_neighbours_are_the_short_frequent_rows_and_collapse():
    """Frequent tokens with small norms are everybody's Euclidean neighbours (papers.md, 1.6)."""
    matrix, counts = hubs()
    cosines = {}
    for similarity in ("cosine", "euclidean"):
        method = SparseCoding(neighbours=2, similarity=similarity)
        plan = method.plan((110, 16), 32 * 110 * 16 / method._bits((110, 16), 80))
        compressed = method.fit(matrix, plan, Context(counts))
        compressed.prepare()
        assert compressed.n_kept == 80
        cosines[similarity] = torch.cosine_similarity(compressed.dense(), matrix)[80:].mean()
    assert cosines["cosine"] > 0.9 and cosines["euclidean"] < 0.5


def test_vocabulary_order_needs_no_counts_and_keeps_special_tokens():
    compressed = compress(
        matrix_of(300, 64), "t24", 4, Context(special_ids=(299,)), order="vocabulary"
    )
    kept = bits.gather(compressed.is_kept, torch.arange(300), 1).bool()
    assert (
        kept[: compressed.n_kept - 1].all() and kept[299] and int(kept.sum()) == compressed.n_kept
    )


def test_lookups_convert_only_the_kept_rows_that_they_mix(monkeypatch):
    compressed = compress(matrix_of(300, 64), "t24", 4, context_of(300), factor_dtype="int8")
    decoded = []
    gather = type(compressed).factor_rows
    monkeypatch.setattr(
        type(compressed),
        "factor_rows",
        lambda self, name, ids: decoded.append((name, len(ids))) or gather(self, name, ids),
    )
    mixed = int((compressed.position < 0).nonzero()[0])
    compressed.rows(torch.tensor([mixed]))
    assert decoded == [("weight", 1), ("kept", 10)]


def test_duplicated_rows_do_not_make_the_solve_singular():
    matrix = matrix_of(10, 64).repeat(30, 1)
    assert (
        compress(matrix, "t24", 3, context_of(300)).dense() - matrix
    ).norm() < 1e-2 * matrix.norm()


def test_counts_are_needed_and_room_for_special_tokens():
    with pytest.raises(UserError, match="needs token counts"):
        compress(matrix_of(300, 64), "t24", 4)
    with pytest.raises(UserError, match="special tokens.*lower ratio"):
        compress(matrix_of(300, 64), "t24", 4, Context(torch.ones(300), tuple(range(200))))


def test_size_of_the_arithmetic_in_the_notes():
    """8,000 kept rows and k = 10 on 30,522 x 768 are 3.63x in packed bits (papers.md.

    Section 7).
    """
    dense = 32 * 30522 * 768
    assert dense / SparseCoding()._bits((30522, 768), 8000) == pytest.approx(3.63, abs=0.005)
