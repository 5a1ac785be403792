"""Baseline: product quantisation (Jegou, Douze and Schmid, PAMI 2011), trained with faiss; OPQ (Ge
et al., PAMI 2014).

Columns are cut into M subspaces; in each, k-means finds 2^b centroids and a row keeps the number of
its nearest. M b bits a row, and 2^b d floats of centroids, and d^2 of a rotation where one is
learnt, all counted.
"""

from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
import torch
from torch import Tensor

from ..errors import InfeasibleRatio, UserError
from ..formats.product_codes import ProductCodes
from ..numerics import bits as packing
from ..numerics.search import load_faiss, map_in_threads
from ._base import Context, Method, Options, Plan, budget_bits, infeasible

WIDTHS = (8, 7, 6, 5, 4)
SAMPLE = 256 * 256
"""Rows that k-means is trained on, at most."""
FAST_COLUMNS = 8
"""Columns below which faiss searches 256 centroids eight times slower than with columns of zeros added."""


@dataclass(frozen=True)
class ProductQuantizationOptions(Options):
    """Sizes of the codes and training."""

    bits: Literal[0, 8, 7, 6, 5, 4] = 0
    """Bits of a code; 0 takes the width that leaves most code bits a row."""
    rotation: Literal["none", "opq"] = "none"
    """Whether a rotation is learnt with the codebooks, by faiss's OPQ, and stored."""
    iterations: int = 25
    """Of k-means."""
    rotation_rounds: int = 10
    """Of OPQ: times that codebooks and rotation are solved in turn."""

    def __post_init__(self) -> None:
        super().__post_init__()
        if min(self.iterations, self.rotation_rounds) < 1:
            raise UserError("options iterations and rotation_rounds must be at least 1")


class PQ(Method):
    """The most code bits a row that the budget allows, M a divisor of d.

    The fewer, wider codes where two are equal.
    """

    alias = "pq"
    label = "product quantisation"
    kind = "baseline"
    weighted = True
    Options = ProductQuantizationOptions

    def _bits(self, shape: tuple[int, int], subspaces: int, width: int) -> int:
        """Bits stored."""
        rows = shape[0]
        factors = ProductCodes.factors(shape, subspaces, width, self.options.rotation == "opq")
        return 8 * rows * packing.packed_bytes(subspaces, width) + self.bits_of(factors)

    def plan(self, shape: tuple[int, int], ratio: float) -> Plan:
        """See base class."""
        budget, (rows, d) = budget_bits(shape, ratio), shape
        # More centroids than rows cannot be trained, nor be of use.
        possible = (self.options.bits,) if self.options.bits else WIDTHS
        widths = [w for w in possible if 1 << w <= rows]
        divisors = [m for m in range(1, d + 1) if d % m == 0]
        fitting = [
            (m * w, w, m) for w in widths for m in divisors if self._bits(shape, m, w) <= budget
        ]
        if not fitting:
            if not widths:
                raise InfeasibleRatio(
                    f"{self.label} needs at least {1 << min(possible)} rows, and has {rows}: take another method"
                )
            least = min(self._bits(shape, 1, w) for w in widths)
            raise infeasible(self.label, shape, 32 * rows * d / least)
        _, width, subspaces = max(fitting)
        sizes = {"subspaces": subspaces, "width": width}
        return Plan(shape, ratio, bits=self._bits(shape, subspaces, width), sizes=sizes)

    def fit(self, matrix: Tensor, plan: Plan, context: Context) -> ProductCodes:
        """See base class.

        Raises:
            UserError: if rows are to be weighted and rotated at once, as faiss's OPQ takes no
                weights.
        """
        subspaces = plan.sizes["subspaces"]
        width = plan.sizes["width"]
        rotated = self.options.rotation == "opq"
        if rotated and self.options.weighting != "uniform":
            raise UserError(
                "product quantisation with rotation: opq weights all rows alike: drop one of both options"
            )
        weights = (
            None
            if self.options.weighting == "uniform"
            else self.row_weights(context, plan.shape[0]).numpy()
        )
        compressed = ProductCodes(plan.shape, subspaces, width, rotated, self.options.factor_dtype)
        if rotated:
            context.progress("rotation")
            compressed.store("rotation", self._rotation(matrix, subspaces, width, context.seed))
            matrix = matrix @ compressed.factor("rotation").T
        columns = plan.shape[1] // subspaces
        pieces = [np.ascontiguousarray(piece.numpy()) for piece in matrix.split(columns, dim=1)]
        codebook = torch.empty(subspaces, columns << width)
        codes = torch.empty(plan.shape[0], subspaces, dtype=torch.int64)

        def train(j: int) -> None:
            centroids = k_means(
                pieces[j], 1 << width, weights, self.options.iterations, context.seed + j
            )
            codebook[j] = torch.from_numpy(centroids.ravel())
            context.progress(f"subspace {j + 1}/{subspaces}")

        list(map_in_threads(train, range(subspaces)))
        compressed.store("codebook", codebook)
        # The nearest of the centroids as they are stored, maybe in less precision.
        stored = compressed.factor("codebook").view(subspaces, 1 << width, columns)

        def assign(j: int) -> None:
            codes[:, j] = torch.from_numpy(nearest(pieces[j], stored[j].numpy()))

        list(map_in_threads(assign, range(subspaces)))
        compressed.codes.copy_(packing.pack_rows(codes, width))
        return compressed

    def _rotation(self, matrix: Tensor, subspaces: int, width: int, seed: int) -> Tensor:
        """OPQ's rotation R (d, d), to be applied as matrix @ R^T."""
        faiss = load_faiss()
        found: list[Any] = []

        def train(d: int) -> None:
            quantizer = faiss.ProductQuantizer(d, subspaces, width)
            _settle(quantizer.cp, seed)
            opq = faiss.OPQMatrix(d, subspaces)
            opq.pq = quantizer
            opq.niter = self.options.rotation_rounds
            opq.max_train_points = SAMPLE
            opq.train(matrix.contiguous().numpy())
            found.append(faiss.vector_to_array(opq.A).reshape(d, d))

        list(map_in_threads(train, [matrix.shape[1]]))
        return torch.from_numpy(found[0].copy())


def _settle(parameters: Any, seed: int) -> None:
    """Seed k-means, and keep it from warning of few points."""
    parameters.seed = seed
    parameters.min_points_per_centroid = 1
    parameters.verbose = False


def k_means(
    points: np.ndarray, n: int, weights: np.ndarray | None, iterations: int, seed: int
) -> np.ndarray:
    """Centroids (n, c) of points (V, c), with faiss; on a sample of SAMPLE points, but on all where
    they are weighted.

    Starts from k-means++, as a random start loses up to 8% of the error on pieces of few columns.
    """
    faiss = load_faiss()
    columns = points.shape[1]
    points = np.pad(points, ((0, 0), (0, max(0, FAST_COLUMNS - columns))))
    parameters = faiss.ClusteringParameters()
    _settle(parameters, seed)
    parameters.niter = iterations
    parameters.init_method = faiss.ClusteringInitMethod_KMEANS_PLUS_PLUS
    # A sample's weights may sum to less than its size, on which faiss's repair of empty clusters
    # does not end.
    parameters.max_points_per_centroid = SAMPLE // n if weights is None else len(points)
    clustering = faiss.Clustering(points.shape[1], n, parameters)
    clustering.train(points, faiss.IndexFlatL2(points.shape[1]), weights)
    return faiss.vector_to_array(clustering.centroids).reshape(n, -1)[:, :columns].copy()


def nearest(points: np.ndarray, centroids: np.ndarray) -> np.ndarray:
    """Number (V,) of each point's nearest centroid."""
    faiss = load_faiss()
    lacking = ((0, 0), (0, max(0, FAST_COLUMNS - points.shape[1])))
    index = faiss.IndexFlatL2(points.shape[1] + lacking[1][1])
    index.add(np.pad(centroids, lacking))
    return index.search(np.pad(points, lacking), 1)[1][:, 0]
