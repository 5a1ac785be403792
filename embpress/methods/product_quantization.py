"""Baseline: product quantization (Jegou, Douze and Schmid, PAMI 2011), trained with faiss.

Columns are split into M subspaces; in each, k-means finds 2^b centroids, and a row stores the
number of its nearest centroid. Stored are M b bits per row and 2^b d floats of centroids. M need
not divide d: the first subspaces then have a column more than the others, and the budget is spent.
With `rotation: opq`, a rotation of the rows is learned with the codebooks (OPQ: Ge, He, Ke and Sun,
PAMI 2014) and stored with d^2 floats; faiss learns it only for an M that divides d.
"""

from dataclasses import dataclass
from functools import partial
from typing import Any, Literal

import numpy as np
import torch
from torch import Tensor

from ..errors import InfeasibleRatio, UserError
from ..formats.product_codes import ProductCodes
from ..numerics import bits as packing
from ..numerics.search import build_index, load_faiss, map_in_threads
from ._base import Context, Method, Options, Plan, budget_bits, infeasible, largest

WIDTHS = (8, 7, 6, 5, 4)
SAMPLE = 256 * 256
"""Maximum number of rows that k-means is trained on."""
ITERATIONS = 25
"""Iterations of k-means."""
ROTATION_ROUNDS = 10
"""Times that OPQ updates codebooks and rotation in turn."""
TOLERANCE = 1.02
"""Multiple of the least expected error up to which wider codes are used: they lose less."""
FAST_COLUMNS = 8
"""Below this number of columns faiss searches 256 centroids eight times slower: zeros are added."""


@dataclass(frozen=True)
class ProductQuantizationOptions(Options):
    """Bits of a code, and whether a rotation is learned."""

    bits: Literal[0, 8, 7, 6, 5, 4] = 0
    """Bits of a code; 0 uses the widest of nearly the least expected error."""
    rotation: Literal["none", "opq"] = "none"
    """`opq` learns a rotation with faiss's OPQ."""


class ProductQuantization(Method):
    """The most subspaces that fit the budget, with codes of the width of least expected error."""

    alias = "pq"
    label = "product quantisation"
    kind = "baseline"
    weighted = True
    Options = ProductQuantizationOptions

    def _bits(self, shape: tuple[int, int], subspaces: int, width: int) -> int:
        """Bits stored."""
        factors = ProductCodes.factors(shape, subspaces, width, self.options.rotation == "opq")
        return 8 * shape[0] * packing.packed_bytes(subspaces, width) + self.bits_of(factors)

    def plan(self, shape: tuple[int, int], ratio: float) -> Plan:
        """See base class."""
        budget = budget_bits(shape, ratio)
        rows, d = shape
        possible = (self.options.bits,) if self.options.bits else WIDTHS
        widths = [w for w in possible if 1 << w <= rows]  # k-means needs a row per centroid
        fitting = {}
        for w in widths:
            subspaces = largest(partial(self._bits, shape, width=w), budget, d)
            if self.options.rotation == "opq":
                subspaces = max((m for m in range(1, subspaces + 1) if d % m == 0), default=0)
            if subspaces:
                fitting[w] = subspaces
        if not fitting:
            if not widths:
                raise InfeasibleRatio(
                    f"{self.label} needs at least {1 << min(possible)} rows, but the matrix has "
                    f"{rows}: use another method"
                )
            least = min(self._bits(shape, 1, w) for w in widths)
            raise infeasible(self.label, shape, 32 * rows * d / least)
        expected = {w: _expected_error(d, m, w) for w, m in fitting.items()}
        limit = TOLERANCE * min(expected.values())
        width = max(w for w, error in expected.items() if error <= limit)
        subspaces = fitting[width]
        sizes = {"subspaces": subspaces, "width": width}
        return Plan(shape, ratio, bits=self._bits(shape, subspaces, width), sizes=sizes)

    def fit(self, matrix: Tensor, plan: Plan, context: Context) -> ProductCodes:
        """See base class.

        Raises:
            UserError: with `weighting` and `rotation: opq`, as faiss's OPQ takes no weights.
        """
        subspaces = plan.sizes["subspaces"]
        width = plan.sizes["width"]
        rotated = self.options.rotation == "opq"
        uniform = self.options.weighting == "uniform"
        if rotated and not uniform:
            raise UserError(
                f"{self.label} with rotation: opq cannot weight rows: leave out option rotation or "
                "weighting"
            )
        weights = None if uniform else self.row_weights(context, plan.shape[0]).numpy()
        compressed = ProductCodes(plan.shape, subspaces, width, rotated, self.options.factor_dtype)
        if rotated:
            context.progress("rotation")
            compressed.store("rotation", _learn_rotation(matrix, subspaces, width, context.seed))
            matrix = matrix @ compressed.factor("rotation").T
        columns, n_long = divmod(plan.shape[1], subspaces)
        lengths = [columns + (j < n_long) for j in range(subspaces)]
        pieces = [np.ascontiguousarray(piece.numpy()) for piece in matrix.split(lengths, dim=1)]

        def train(j: int) -> np.ndarray:
            centroids = k_means(pieces[j], 1 << width, weights, context.seed + j)
            context.progress(f"subspace {j + 1}/{subspaces}")
            return centroids.ravel()

        codebooks = list(map_in_threads(train, range(subspaces)))
        long = codebooks[:n_long] if n_long else codebooks
        compressed.store("codebook", torch.from_numpy(np.stack(long)))
        if n_long:
            compressed.store("codebook_short", torch.from_numpy(np.stack(codebooks[n_long:])))
        # Codes are the nearest of the stored centroids, which may have a lower precision.
        stored = [
            np.ascontiguousarray(centroids[:, :length].numpy())
            for centroids, length in zip(compressed.centroids().split(1 << width), lengths)
        ]
        codes = np.stack(list(map_in_threads(find_nearest, pieces, stored)), axis=1)
        compressed.codes.copy_(packing.pack_rows(torch.from_numpy(codes), width))
        return compressed


def _expected_error(d: int, subspaces: int, width: int) -> float:
    """Least squared error of d Gaussian columns of variance 1 in subspaces of this many bits.

    Shannon's bound: c columns at b bits have the error c 2^(-2 b / c).
    """
    columns, n_long = divmod(d, subspaces)
    error = n_long * (columns + 1) * 4 ** (-width / (columns + 1))
    return error + (subspaces - n_long) * columns * 4 ** (-width / columns)


def _learn_rotation(matrix: Tensor, subspaces: int, width: int, seed: int) -> Tensor:
    """OPQ's rotation R (d, d), to be applied as matrix @ R^T."""
    faiss = load_faiss()

    def train(d: int) -> np.ndarray:
        quantizer = faiss.ProductQuantizer(d, subspaces, width)
        _configure_k_means(quantizer.cp, seed)
        opq = faiss.OPQMatrix(d, subspaces)
        opq.pq = quantizer
        opq.niter = ROTATION_ROUNDS
        opq.max_train_points = SAMPLE
        opq.train(matrix.contiguous().numpy())
        return faiss.vector_to_array(opq.A).reshape(d, d).copy()

    (rotation,) = map_in_threads(train, [matrix.shape[1]])
    return torch.from_numpy(rotation)


def _configure_k_means(parameters: Any, seed: int) -> None:
    """Set the seed, and silence the warning about few points per centroid."""
    parameters.seed = seed
    parameters.min_points_per_centroid = 1
    parameters.verbose = False


def k_means(points: np.ndarray, n: int, weights: np.ndarray | None, seed: int) -> np.ndarray:
    """Centroids (n, c) of points (V, c) with weights (V,), by faiss.

    Unweighted points are sampled down to `SAMPLE`. k-means++ initializes the centroids: a random
    start has up to 8 % more error on subspaces of few columns.
    """
    faiss = load_faiss()
    columns = points.shape[1]
    points = _pad_columns(points)
    parameters = faiss.ClusteringParameters()
    _configure_k_means(parameters, seed)
    parameters.niter = ITERATIONS
    parameters.init_method = faiss.ClusteringInitMethod_KMEANS_PLUS_PLUS
    # A sample's weights may sum to less than its size, with which faiss's repair of empty clusters
    # does not end.
    parameters.max_points_per_centroid = SAMPLE // n if weights is None else len(points)
    clustering = faiss.Clustering(points.shape[1], n, parameters)
    clustering.train(points, faiss.IndexFlatL2(points.shape[1]), weights)
    return faiss.vector_to_array(clustering.centroids).reshape(n, -1)[:, :columns].copy()


def find_nearest(points: np.ndarray, centroids: np.ndarray) -> np.ndarray:
    """Number of the nearest centroid (n, c) of each point (V, c): int64 (V,)."""
    index = build_index(_pad_columns(centroids), "euclidean")
    return index.search(_pad_columns(points), 1)[1][:, 0]


def _pad_columns(vectors: np.ndarray) -> np.ndarray:
    """Vectors (n, c) with zeros up to `FAST_COLUMNS` columns."""
    return np.pad(vectors, ((0, 0), (0, max(0, FAST_COLUMNS - vectors.shape[1]))))
