"""Baseline: k-means over whole rows, the vocabulary quantization of model2vec (Tulkens and van
Dongen, 2024).

k rows are stored, and for each id the number of one of them, in log2 k bits. With `weighting` the
clusters have the least weighted error: frequent rows get centroids of their own.

Differs from model2vec: its k-means stores a weight for each id too; here rows are not scaled. The
iterations run on the leading principal coordinates of the rows, as all of them would take minutes;
the last assignment and the centroids take all coordinates.
"""

import numpy as np
import torch
from torch import Tensor

from ..formats.shared_rows import SharedRows
from ..numerics import bits as packing
from ..numerics.linalg import principal_axes
from ..numerics.search import build_index, load_faiss, map_in_threads
from ._base import Context, Method, Plan, budget_bits, infeasible, largest

COORDINATES = 64
"""Principal coordinates of the rows on which k-means iterates."""
ITERATIONS = 8
"""Iterations of k-means."""


class RowClustering(Method):
    """The largest number of clusters that fits the budget."""

    label = "k-means over rows"
    kind = "baseline"
    weighted = True

    def _size(self, shape: tuple[int, int], n_shared: int) -> int:
        """Bits stored."""
        factors = self.bits_of(SharedRows.factors(shape, n_shared))
        return factors + 8 * SharedRows.code_bytes(shape, n_shared)

    def plan(self, shape: tuple[int, int], ratio: float) -> Plan:
        """See base class."""
        clusters = largest(lambda n: self._size(shape, n), budget_bits(shape, ratio), shape[0])
        if not clusters:
            raise infeasible(self.label, shape, 32 * shape[0] * shape[1] / self._size(shape, 1))
        return Plan(shape, ratio, self._size(shape, clusters), {"clusters": clusters})

    def fit(self, matrix: Tensor, plan: Plan, context: Context) -> SharedRows:
        """See base class."""
        n_rows = len(matrix)
        clusters = plan.sizes["clusters"]
        compressed = SharedRows(plan.shape, clusters, dtype=self.options.factor_dtype)
        weights = self.row_weights(context, n_rows)
        mean, axes = principal_axes(matrix, min(COORDINATES, plan.shape[1]), weights)
        points = ((matrix - mean) @ axes).contiguous().numpy()
        (codes,) = map_in_threads(
            lambda seed: _cluster(points, weights.numpy(), clusters, seed), [context.seed]
        )
        context.progress(f"{clusters} clusters of {len(axes.T)} coordinates")
        compressed.store("shared", _means(matrix, weights, torch.from_numpy(codes), clusters))
        # Numbers are those of the nearest of the stored rows, which may have a lower precision.
        shared = compressed.factor("shared").numpy()
        (codes,) = map_in_threads(lambda rows: _nearest(matrix.numpy(), rows), [shared])
        width = packing.width_for(clusters)
        compressed.codes.copy_(packing.pack(torch.from_numpy(codes), width))
        return compressed


def _cluster(points: np.ndarray, weights: np.ndarray, clusters: int, seed: int) -> np.ndarray:
    """Number of the cluster of each point (V, c) by weighted k-means: int64 (V,).

    k-means starts from points that are drawn without replacement by their weighted energy, so that
    points of most weight are centroids.
    """
    faiss = load_faiss()
    energy = weights * (points**2).sum(1)
    draws = np.random.default_rng(seed).random(len(points))
    # The largest of these keys are a sample without replacement (Efraimidis and Spirakis 2006).
    keys = np.log(draws) / (energy + 1e-6 * energy.mean() + 1e-30)
    start = np.sort(np.argsort(-keys, kind="stable")[:clusters])
    parameters = faiss.ClusteringParameters()
    parameters.seed = seed
    parameters.niter = ITERATIONS
    parameters.min_points_per_centroid = 1
    parameters.max_points_per_centroid = len(points)
    clustering = faiss.Clustering(points.shape[1], clusters, parameters)
    faiss.copy_array_to_vector(points[start].ravel(), clustering.centroids)
    clustering.train(points, faiss.IndexFlatL2(points.shape[1]), weights)
    centroids = faiss.vector_to_array(clustering.centroids).reshape(clusters, -1)
    return _nearest(points, centroids)


def _nearest(points: np.ndarray, centroids: np.ndarray) -> np.ndarray:
    """Number of the nearest centroid (k, c) of each point (V, c): int64 (V,)."""
    return build_index(centroids, "euclidean").search(points, 1)[1][:, 0]


def _means(matrix: Tensor, weights: Tensor, codes: Tensor, clusters: int) -> Tensor:
    """Weighted mean rows (k, d) of the rows of each cluster; 0 of a cluster without rows."""
    total = torch.zeros(clusters, matrix.shape[1]).index_add_(0, codes, matrix * weights[:, None])
    count = torch.zeros(clusters).index_add_(0, codes, weights)
    return total / count.clamp_min(1e-30)[:, None]
