"""CARVQ (Gou, Byun, Malpeddi, De Micheli, Vaste, Song and Chung, Findings of EMNLP 2025): a
corrective adaptor and group residual vector quantization. A reconstruction.

Idea, from the abstract and the paper's first pages: the embedding is split into groups, each coded
by residual vector quantization with codes of at most 4 bits, which any hardware with 4-bit memory
stores; a small network, the corrective adaptor, adds what the codes miss. It is the composition of
a map from the token to R^m, with m far below d, and an expansion from R^m to R^d with a
non-linearity. Together they take about 1.6 bits a value.

Neither the full text nor code of the authors was available. Reconstructed:
- a group is a block of `block` = 8 columns of all rows; each has codebooks of 16 centroids, trained
  one after the other on the residual with weighted k-means, and encoded greedily. With three codes
  a group this takes 1.5 bits a value, and the adaptor of the default width another 0.125;
- the adaptor has one hidden layer of `hidden` units with ReLU. It is trained, after the codes, with
  Adam on the squared error of what they miss, from the principal components of the residual;
- m is at least d / 128 (`latent`), and larger as far as the budget allows once the codes are
  chosen;
- codebooks and adaptor are stored in fp16 (`factor_dtype`).

Added to fill budgets: groups of the largest error get one code more than the others.

Option `adaptor: false` is group residual vector quantization alone.
"""

from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from ..errors import UserError
from ..formats._base import ROW_BLOCK
from ..formats._factors import FactorDtype
from ..formats.residual_codes import CODE_BITS, ResidualCodes, Sizes
from ..numerics import bits as packing
from ..numerics.adam import Schedule, minimize
from ..numerics.linalg import right_singular_vectors
from ..numerics.search import map_in_threads
from ..numerics.small_codebooks import CENTROIDS, k_means_of_16, nearest_centroids
from ._base import Context, Method, Plan, TrainedOptions, budget_bits, infeasible, largest

ITERATIONS = 8
"""Iterations of k-means."""
MOST_STAGES = 16
"""Largest number of codes of a group."""


@dataclass(frozen=True)
class CARVQOptions(TrainedOptions):
    """Groups, adaptor and its training."""

    factor_dtype: FactorDtype = "float16"
    block: int = 8
    """Columns of a group."""
    adaptor: bool = True
    """Whether there is a corrective adaptor."""
    latent: int = 0
    """Smallest width of the adaptor's input; 0 for d / 128, at least 1."""
    hidden: int = 0
    """Units of the adaptor's hidden layer; 0 for d / 6, at least 1."""
    epochs: int = 5

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.block < 1 or min(self.latent, self.hidden) < 0:
            raise UserError("options block, latent and hidden must be above 0")


class CARVQ(Method):
    """The most codes that fit beside the smallest adaptor, then the widest adaptor."""

    label = "CARVQ"
    kind = "paper"
    citation = "gou2025carvq"
    reconstruction = True
    weighted = True
    Options = CARVQOptions

    def _size(self, shape: tuple[int, int], sizes: Sizes) -> int:
        """Bits stored."""
        codes = ResidualCodes.code_bits(shape, sizes)
        return codes + self.bits_of(ResidualCodes.factors(shape, sizes))

    def plan(self, shape: tuple[int, int], ratio: float) -> Plan:
        """See base class."""
        budget = budget_bits(shape, ratio)
        options = self.options
        d = shape[1]
        smallest = Sizes(options.block, 1, 0, 0)
        if options.adaptor:
            hidden = options.hidden or max(1, d // 6)
            latent = min(options.latent or max(1, d // 128), hidden)
            smallest = Sizes(options.block, 1, latent, hidden)
        most = MOST_STAGES * smallest.groups(d)
        codes = largest(lambda n: self._size(shape, smallest._replace(codes=n)), budget, most)
        if not codes:
            least = self._size(shape, smallest)
            raise infeasible(self.label, shape, 32 * shape[0] * d / least)
        sizes = smallest._replace(codes=codes)
        if options.adaptor:
            latent = largest(
                lambda m: self._size(shape, sizes._replace(latent=m)), budget, min(hidden, d)
            )
            sizes = sizes._replace(latent=latent)
        return Plan(shape, ratio, self._size(shape, sizes), sizes._asdict())

    def fit(self, matrix: Tensor, plan: Plan, context: Context) -> ResidualCodes:
        """See base class."""
        compressed = ResidualCodes(plan.shape, **plan.sizes, dtype=self.options.factor_dtype)
        weights = self.row_weights(context, len(matrix))
        _fit_codes(matrix, weights, compressed, context)
        compressed.prepare()
        if compressed.sizes.latent:
            schedule = Schedule(
                self.options.epochs, self.options.batch_size, self.options.learning_rate
            )
            _fit_adaptor(matrix, weights, compressed, schedule, context)
        return compressed


def _fit_codes(
    matrix: Tensor, weights: Tensor, compressed: ResidualCodes, context: Context
) -> None:
    """Fill codebooks, codes and marks, with the residual of greedy encoding."""
    block, n_codes, _, _ = compressed.sizes
    d = matrix.shape[1]
    groups = compressed.sizes.groups(d)
    padded = torch.nn.functional.pad(matrix, (0, groups * block - d))
    pieces = [np.ascontiguousarray(piece.numpy()) for piece in padded.split(block, dim=1)]
    stages = n_codes // groups
    row_weights = weights.numpy()

    residuals = [piece.copy() for piece in pieces]

    def train(group: int, first: int, last: int) -> list[np.ndarray]:
        """Codebooks of stages first to last - 1; the group's residual is updated."""
        residual = residuals[group]
        books = []
        for stage in range(first, last):
            generator = np.random.default_rng((context.seed, group, stage))
            start = residual[generator.permutation(len(residual))[:CENTROIDS]]
            start = np.resize(start, (CENTROIDS, block))
            books.append(k_means_of_16(residual, row_weights, start, ITERATIONS))
            residual -= books[-1][nearest_centroids(residual, books[-1])]
        context.progress(f"group {group + 1}/{groups}")
        return books

    books = list(map_in_threads(train, range(groups), [0] * groups, [stages] * groups))
    errors = np.array([(np.square(part).sum(1) * row_weights).sum() for part in residuals])
    marked = np.sort(np.argsort(-errors, kind="stable")[: n_codes % groups])
    n_marked = len(marked)
    longer = map_in_threads(train, marked, [stages] * n_marked, [stages + 1] * n_marked)
    for group, last_book in zip(marked, longer):
        books[group] += last_book
    compressed.extra.zero_()
    compressed.extra[torch.from_numpy(marked)] = 1
    order = [(stage, group) for stage in range(stages) for group in range(groups)]
    order += [(stages, int(group)) for group in marked]
    codebook = np.stack([books[group][stage].ravel() for stage, group in order])
    compressed.store("codebook", torch.from_numpy(codebook))
    # Codes are the nearest of the stored centroids, which may have a lower precision.
    stored = compressed.factor("codebook").view(n_codes, CENTROIDS, block).numpy()
    codes = np.empty((len(matrix), n_codes), dtype=np.uint8)
    for j, (_, group) in enumerate(order):
        codes[:, j] = nearest_centroids(pieces[group], stored[j])
        pieces[group] -= stored[j][codes[:, j]]
    compressed.codes.copy_(packing.pack_rows(torch.from_numpy(codes), CODE_BITS))


def _fit_adaptor(
    matrix: Tensor,
    weights: Tensor,
    compressed: ResidualCodes,
    schedule: Schedule,
    context: Context,
) -> None:
    """Train latents and network on what the codes miss, and store them."""
    _, _, latent, hidden = compressed.sizes
    # The adaptor is still 0: rows are sums of centroids.
    parts = torch.arange(len(matrix)).split(ROW_BLOCK)
    residual = torch.cat([matrix[ids] - compressed.rows(ids) for ids in parts])
    scale = residual.square().mean().sqrt().clamp_min(1e-30)
    residual = residual / scale
    basis = right_singular_vectors(residual, latent, weights)
    latents = residual @ basis
    # Above the least value of a coordinate ReLU is the identity: the start is a linear map.
    shift = -latents.amin(0)
    generator = torch.Generator().manual_seed(context.seed)
    network = {
        "weight0": torch.randn(hidden, latent, generator=generator) / latent**0.5,
        "bias0": torch.randn(hidden, generator=generator),
        "weight1": torch.zeros(matrix.shape[1], hidden),
        "bias1": -basis @ shift,
    }
    network["weight0"][:latent] = torch.eye(latent)
    network["bias0"][:latent] = shift
    network["weight1"][:, :latent] = basis

    def loss(ids: Tensor, epoch: int) -> Tensor:
        units = (latents[ids] @ network["weight0"].T + network["bias0"]).relu()
        missed = units @ network["weight1"].T + network["bias1"] - residual[ids]
        return (missed.square().mean(1) * weights[ids]).mean()

    parameters = [latents, *network.values()]
    minimize(loss, parameters, len(matrix), schedule, context.seed, context.progress)
    compressed.store("latents", latents.detach())
    for name in ("weight0", "bias0"):
        compressed.store(name, network[name].detach())
    for name in ("weight1", "bias1"):
        compressed.store(name, network[name].detach() * scale)
