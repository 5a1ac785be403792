import numpy as np
import pytest
import torch
from sklearn.manifold._locally_linear import barycenter_weights
from sklearn.neighbors import NearestNeighbors

from embpress import bits
from embpress.errors import UserError
from embpress.methods import compress
from embpress.methods.base import Context
from embpress.methods.t24 import T24, kept_rows, mixing_weights

from .samples import context_of, matrix_of


def test_weights_equal_scikit_learns():
    generator = np.random.default_rng(0)
    rows, anchors = generator.normal(size=(20, 12)), generator.normal(size=(50, 12))
    index = generator.integers(0, 50, (20, 5))
    wanted = barycenter_weights(rows, anchors, index, reg=1e-3)
    # scikit-learn's ridge is reg x trace, ours a share of trace / k.
    found = mixing_weights(torch.tensor(rows).float(), torch.tensor(anchors).float()[torch.tensor(index)], 1e-3 * 5)
    np.testing.assert_allclose(found.numpy(), wanted, rtol=1e-4, atol=1e-6)


def test_whole_fit_equals_a_slow_one():
    matrix, context = matrix_of(300, 64), context_of(300)
    compressed = compress(matrix, "t24", 3, context)
    rows = matrix.double().numpy()
    kept = np.sort(
        np.argsort(-np.where(np.isin(np.arange(300), context.special_ids), np.inf, context.counts.numpy()), kind="stable")[
            : compressed.n_kept
        ]
    )
    search = NearestNeighbors(n_neighbors=10, metric="cosine", algorithm="brute").fit(rows[kept])
    for i in sorted(set(range(300)) - set(kept))[:40]:
        near = search.kneighbors(rows[i : i + 1], return_distance=False)
        weights = barycenter_weights(rows[i : i + 1], rows[kept], near, reg=1e-4)
        np.testing.assert_allclose(compressed.dense()[i].numpy(), weights[0] @ rows[kept][near[0]], atol=1e-4)


def test_kept_rows_are_exact_and_special_ones_always_among_them():
    matrix, context = matrix_of(300, 64), context_of(300)
    compressed = compress(matrix, "t24", 4, context)
    kept = bits.gather(compressed.is_kept, torch.arange(300), 1).bool()
    assert int(kept.sum()) == compressed.n_kept
    assert torch.equal(compressed.rows(kept.nonzero().flatten()), matrix[kept])
    assert kept[list(context.special_ids)].all()
    rest = [i for i in range(300) if i not in context.special_ids]
    assert context.counts[rest][kept[rest]].min() >= context.counts[rest][~kept[rest]].max()


def test_ties_go_to_the_lower_id():
    assert kept_rows(torch.tensor([1, 5, 5, 5, 0]), (4,), 3).tolist() == [False, True, True, False, True]


def test_neighbours_are_by_cosine_and_not_by_distance():
    """Frequent tokens with small norms would be everybody's Euclidean neighbours (papers.md, 1.6)."""
    generator = torch.Generator().manual_seed(0)
    directions = torch.nn.functional.normalize(torch.randn(40, 16, generator=generator), dim=1)
    hubs = 0.01 * torch.randn(40, 16, generator=generator)
    rare = 3 * (directions[:30] + 0.05 * torch.randn(30, 16, generator=generator))
    matrix = torch.cat([directions, hubs, rare])
    counts = torch.cat([torch.full((80,), 9), torch.zeros(30, dtype=torch.int64)])
    method = T24(neighbours=2)
    plan = method.plan((110, 16), 32 * 110 * 16 / method._bits((110, 16), 80))
    compressed = method.fit(matrix, plan, Context(counts))
    compressed.prepare()
    index = bits.gather(compressed.index, torch.arange(60), compressed.index_width).view(30, 2)
    assert (index[:, 0] == torch.arange(30)).all()


def test_duplicated_rows_do_not_make_the_solve_singular():
    matrix = matrix_of(10, 64).repeat(30, 1)
    assert (compress(matrix, "t24", 3, context_of(300)).dense() - matrix).norm() < 1e-2 * matrix.norm()


def test_counts_are_needed_and_room_for_special_tokens():
    with pytest.raises(UserError, match="needs token counts"):
        compress(matrix_of(300, 64), "t24", 4)
    with pytest.raises(UserError, match="special tokens: lower the ratio"):
        compress(matrix_of(300, 64), "t24", 4, Context(torch.ones(300), tuple(range(200))))


def test_size_of_the_arithmetic_in_the_notes():
    """8,000 kept rows and k = 10 on 30,522 x 768 are 3.63x in packed bits (papers.md, section 7)."""
    dense = 32 * 30522 * 768
    assert dense / T24()._bits((30522, 768), 8000) == pytest.approx(3.63, abs=0.005)
