import numpy as np
import pytest
from sklearn.manifold._locally_linear import barycenter_weights

from embpress.numerics.local_mixing import mixing_weights


def sample(k):
    """20 rows, 50 anchors, and k neighbours of each row."""
    generator = np.random.default_rng(0)
    rows, anchors = (generator.normal(size=(n, 12)).astype(np.float32) for n in (20, 50))
    return rows, anchors, np.stack([generator.permutation(50)[:k] for _ in range(20)])


@pytest.mark.parametrize("k", [1, 2, 5, 10])
def test_weights_equal_scikit_learns(k):
    rows, anchors, index = sample(k)
    wanted = barycenter_weights(
        rows.astype(np.float64), anchors.astype(np.float64), index, reg=1e-3
    )
    # scikit-learn's ridge is reg x trace, ours a share of trace / k.
    found = mixing_weights(rows, anchors, index, 1e-3 * k)
    np.testing.assert_allclose(found, wanted, rtol=1e-4, atol=1e-6)


@pytest.mark.parametrize("ridge", [0.0, 1e-3])
def test_rows_equal_to_their_neighbours_or_zero_are_mixed_exactly(ridge):
    """Singular systems, three of them of zeros."""
    anchors = np.array([[1, 2], [1, 2], [3, 1], [0, 0], [0, 0]], dtype=np.float32)
    rows = anchors[[0, 0, 0, 3]]
    index = np.array([[0, 1], [1, 2], [0, 0], [3, 4]])
    weights = mixing_weights(rows, anchors, index, ridge)
    mixes = (weights[:, :, None] * anchors[index]).sum(1)
    np.testing.assert_allclose(mixes, rows, atol=1e-2 if ridge else 1e-6)
