"""B21: direction autoencoder (Balazy, Banaei, Lebret, Tabor and Aberer, RepL4NLP 2021).

Idea: what matters of an embedding is its direction. A linear autoencoder of the rows, z = W_e x +
b_e, x^ = W_d z + b_d, is trained on

    0.9975/5 mean_i (1 - cos(x^_i, x_i)) + 0.0025 mean_ij (|x_ij - x^_ij| + 1e-10)^alpha,

where alpha falls linearly from 1.0 to 0.1 over the first two thirds of the epochs and then stays
(weights and schedule from the authors' code, orientation_based_embedding_compression). The encoder
is dropped: latents (V, k), W_d and b_d are stored.

Differs from the paper:
- it starts from PCA, the optimum of the squared error, uses batches of 2,048 rows and decays the
  learning rate linearly, because that trains faster; the paper starts at random, uses batches of 32
  and halves the learning rate every 4 of 30 epochs;
- a linear autoencoder is trained on rows scaled to the size of BERT's, which its decoder undoes,
  because Adam's steps and the norm term depend on the rows' size, and the paper chose its settings
  on BERT;
- the last epoch is kept, not the one of best perplexity, which the authors choose on test text.

Options: the weights of both terms and alpha's range (`cosine_weight: 0` with alpha 2 throughout is
the squared error); `linear: false` adds an ELU after encoder and decoder, as the authors' code can;
`weighting` multiplies each row's part of the loss. The authors' recipe is `start: random`,
`batch_size: 32`, `epochs: 30`, `decay: steps`.
"""

from dataclasses import dataclass
from typing import Literal

import torch
from torch import Tensor
from torch.nn import functional

from ..errors import UserError
from ..formats._factors import Factor
from ..formats.low_rank import LowRank
from ..formats.mlp_decoder import Layer, MLPDecoder
from ..numerics.adam import Schedule, bert_scale, cosine_distance, minimize, uniform_layer
from ..numerics.linalg import principal_axes
from ._base import Context, Method, Plan, TrainedOptions, budget_bits, infeasible, largest

SMALLEST = 1e-10
"""Keeps the gradient of |e|^alpha finite at 0, as in the paper's code."""


@dataclass(frozen=True)
class DirectionAutoencoderOptions(TrainedOptions):
    """The network, its loss and its training."""

    linear: bool = True
    """Whether there is no activation; otherwise an ELU follows encoder and decoder."""
    cosine_weight: float = 0.9975 / 5
    norm_weight: float = 0.0025
    """Weight of mean |e|^alpha."""
    alpha_start: float = 1.0
    alpha_end: float = 0.1
    """Exponent of the norm term in the first epoch, and from two thirds of the epochs on."""
    start: Literal["pca", "random"] = "pca"
    """Initialization."""
    decay: Literal["linear", "steps"] = "linear"
    """Decay of the learning rate: linearly to 0, or in steps as in the paper."""
    epochs: int = 4
    batch_size: int = 2048

    def __post_init__(self) -> None:
        super().__post_init__()
        if min(self.cosine_weight, self.norm_weight) < 0:
            raise UserError("options cosine_weight and norm_weight must be at least 0")
        if min(self.alpha_start, self.alpha_end) <= 0:
            raise UserError("options alpha_start and alpha_end must be above 0")

    def alpha(self, epoch: int) -> float:
        """Exponent of the norm term in an epoch, counted from 0."""
        share = min(1.0, epoch / max(1.0, 2 * self.epochs / 3))
        return self.alpha_start + share * (self.alpha_end - self.alpha_start)

    def loss(self, decoded: Tensor, rows: Tensor, weights: Tensor, epoch: int) -> Tensor:
        """The loss of a batch: (B, d), (B, d), (B,) to a scalar."""
        # The order of the terms decides in which order autograd sums their gradients.
        error = (rows - decoded).abs()
        total = self.cosine_weight * cosine_distance(decoded, rows, weights)
        if self.norm_weight:
            norm = ((error + SMALLEST).pow(self.alpha(epoch)).mean(1) * weights).mean()
            total = total + self.norm_weight * norm
        return total


class DirectionAutoencoder(Method):
    """The largest latent that fits the budget: k floats per row, and k d + d of the decoder."""

    alias = "b21"
    label = "B21 direction AE"
    kind = "paper"
    citation = "balazy2021direction"
    weighted = True
    uses_device = True
    Options = DirectionAutoencoderOptions

    def plan(self, shape: tuple[int, int], ratio: float) -> Plan:
        """See base class."""

        def factors(rank: int) -> dict[str, Factor]:
            if self.options.linear:
                return LowRank.factors(shape, rank, True)
            return MLPDecoder.factors(shape, rank, [], False)

        rank = largest(lambda k: self.bits_of(factors(k)), budget_bits(shape, ratio), min(shape))
        if not rank:
            raise infeasible(self.label, shape, 32 * shape[0] * shape[1] / self.bits_of(factors(1)))
        return Plan(shape, ratio, bits=self.bits_of(factors(rank)), sizes={"rank": rank})

    def fit(self, matrix: Tensor, plan: Plan, context: Context) -> LowRank | MLPDecoder:
        """See base class."""
        options = self.options
        rank = plan.sizes["rank"]
        weights = self.row_weights(context, len(matrix))
        scale = bert_scale(matrix) if options.linear else 1.0
        encoder, decoder = _initialize(matrix, scale, rank, options, weights, context.seed)

        def apply(layer: Layer, vectors: Tensor) -> Tensor:
            output = functional.linear(vectors, *layer)
            return output if options.linear else functional.elu(output)

        def loss(ids: Tensor, epoch: int) -> Tensor:
            rows = matrix[ids] / scale
            decoded = apply(decoder, apply(encoder, rows))
            return options.loss(decoded, rows, weights[ids], epoch)

        # The paper halves the learning rate every 4 of 30 epochs.
        steps = (max(1, options.epochs // 7), 0.5) if options.decay == "steps" else None
        schedule = Schedule(options.epochs, options.batch_size, options.learning_rate, steps)
        minimize(loss, [*encoder, *decoder], len(matrix), schedule, context.seed, context.progress)
        dtype = options.factor_dtype
        if not options.linear:
            network = MLPDecoder(plan.shape, rank, [], norms=False, output="elu", dtype=dtype)
            network.fill(apply(encoder, matrix), [decoder])
            return network
        weight, bias = decoder
        compressed = LowRank(plan.shape, rank, bias=True, dtype=dtype)
        compressed.store_rows(
            "left", lambda start, stop: apply(encoder, matrix[start:stop] / scale) * scale
        )
        compressed.store("right", weight.T)
        compressed.store("bias", bias * scale)
        return compressed


def _initialize(
    matrix: Tensor,
    scale: float,
    rank: int,
    options: DirectionAutoencoderOptions,
    weights: Tensor,
    seed: int,
) -> tuple[Layer, Layer]:
    """Encoder and decoder before training on matrix / scale."""
    d = matrix.shape[1]
    if options.start == "random":
        generator = torch.Generator().manual_seed(seed)
        encoder = uniform_layer(d, rank, generator, matrix.device)
        return encoder, uniform_layer(rank, d, generator, matrix.device)
    mean, basis = principal_axes(matrix, rank, weights)
    return (basis.T.clone(), -(mean / scale) @ basis), (basis.clone(), mean / scale)
