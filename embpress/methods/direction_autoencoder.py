"""B21: direction autoencoder (Balazy, Banaei, Lebret, Tabor and Aberer, RepL4NLP 2021).

A linear autoencoder of the rows, z = W_e x + b_e, x^ = W_d z + b_d, trained on

    0.9975/5 mean_i (1 - cos(x^_i, x_i)) + 0.0025 mean_ij (|x_ij - x^_ij| + 1e-10)^alpha + 0 RMSE,

alpha falling linearly from 1.0 to 0.1 over the first two thirds of the epochs and staying there
(the authors' code, orientation_based_embedding_compression). The encoder is dropped: latents (V,
k), W_d and b_d are stored.

Ablations: `linear: false` sets an ELU after encoder and decoder, as the authors' code can; the four
weights of the loss; alpha's course (alpha 2 throughout makes the norm term the squared error); the
start; `weighting`, which multiplies each row's part of the loss. The authors' recipe is start:
random, batch_size: 32, epochs: 30, decay: steps.

Differs from the paper:
- it starts from PCA, the optimum of the L2 loss alone, takes batches of 2,048 rows and lets the
  learning rate fall linearly, where the paper starts at random with batches of 32 and halves the
  rate every 4 of 30 epochs;
- a linear autoencoder is trained on rows brought to the size of BERT's, which the latents' decoder
  undoes: Adam's steps and the loss at alpha > 0 depend on the rows' size, and the paper's settings
  were found for BERT's;
- the last epoch is kept, not the one of best perplexity, which the authors chose on test text.
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
from ..numerics.adam import (
    Schedule,
    bert_scale,
    cosine_distance,
    minimize,
    root_mean_square,
    uniform_layer,
)
from ..numerics.linalg import principal_axes
from ._base import Context, Method, Plan, TrainedOptions, budget_bits, infeasible, largest

SMALLEST = 1e-10
"""Keeps the gradient of |e|^alpha finite at 0, as in the paper's code."""


@dataclass(frozen=True)
class DirectionAutoencoderOptions(TrainedOptions):
    """The network, the loss and how it is minimised."""

    linear: bool = True
    cosine_weight: float = 0.9975 / 5
    norm_weight: float = 0.0025
    """Weight of mean |e|^alpha."""
    rmse_weight: float = 0.0
    l1_weight: float = 0.0
    alpha_start: float = 1.0
    alpha_end: float = 0.1
    start: Literal["pca", "random"] = "pca"
    decay: Literal["linear", "steps"] = "linear"
    """The learning rate falls from step to step to 0.

    Or by a factor every few epochs as in the paper.
    """
    epochs: int = 4
    batch_size: int = 2048

    def __post_init__(self) -> None:
        super().__post_init__()
        if min(self.cosine_weight, self.norm_weight, self.rmse_weight, self.l1_weight) < 0:
            raise UserError(
                "options cosine_weight, norm_weight, rmse_weight and l1_weight must be at least 0"
            )
        if min(self.alpha_start, self.alpha_end) <= 0:
            raise UserError("options alpha_start and alpha_end must be above 0")

    def alpha(self, epoch: int) -> float:
        """The norm term's exponent in this epoch, counted from 0."""
        share = min(1.0, epoch / max(1.0, 2 * self.epochs / 3))
        return self.alpha_start + share * (self.alpha_end - self.alpha_start)

    def loss(self, decoded: Tensor, rows: Tensor, weights: Tensor, epoch: int) -> Tensor:
        """The loss of a batch: (B, d), (B, d), (B,) to a scalar."""
        error = (rows - decoded).abs()
        total = self.cosine_weight * cosine_distance(decoded, rows, weights)
        if self.norm_weight:
            total = (
                total
                + self.norm_weight
                * ((error + SMALLEST).pow(self.alpha(epoch)).mean(1) * weights).mean()
            )
        if self.rmse_weight:
            total = total + self.rmse_weight * root_mean_square(decoded, rows, weights)
        return (
            total + self.l1_weight * (error.mean(1) * weights).mean() if self.l1_weight else total
        )


class B21(Method):
    """k floats a row, and the decoder's k d + d."""

    alias = "b21"
    label = "B21 direction AE"
    kind = "paper"
    citation = "balazy2021direction"
    weighted = True
    Options = DirectionAutoencoderOptions

    def plan(self, shape: tuple[int, int], ratio: float) -> Plan:
        """See base class."""

        def factors(rank: int) -> dict[str, Factor]:
            return (
                LowRank.factors(shape, rank, True)
                if self.options.linear
                else MLPDecoder.factors(shape, rank, [], False)
            )

        rank = largest(lambda k: self.bits_of(factors(k)), budget_bits(shape, ratio), min(shape))
        if not rank:
            raise infeasible(self.label, shape, 32 * shape[0] * shape[1] / self.bits_of(factors(1)))
        return Plan(shape, ratio, bits=self.bits_of(factors(rank)), sizes={"rank": rank})

    def fit(self, matrix: Tensor, plan: Plan, context: Context) -> LowRank | MLPDecoder:
        """See base class."""
        options = self.options
        rank = plan.sizes["rank"]
        weights = self.row_weights(context, len(matrix))
        size = bert_scale(matrix) if options.linear else 1.0
        encoder, decoder = _start(matrix, size, rank, options, weights, context.seed)

        def encode(rows: Tensor) -> Tensor:
            latents = functional.linear(rows, *encoder)
            return latents if options.linear else functional.elu(latents)

        def loss(ids: Tensor, epoch: int) -> Tensor:
            rows = matrix[ids] / size
            decoded = functional.linear(encode(rows), *decoder)
            return options.loss(
                decoded if options.linear else functional.elu(decoded), rows, weights[ids], epoch
            )

        # The paper halves the rate every 4 of 30 epochs.
        steps = (max(1, options.epochs // 7), 0.5) if options.decay == "steps" else None
        schedule = Schedule(options.epochs, options.batch_size, options.learning_rate, steps)
        minimize(loss, [*encoder, *decoder], len(matrix), schedule, context.seed, context.progress)
        weight, bias = decoder
        compressed: LowRank | MLPDecoder
        if options.linear:
            compressed = LowRank(plan.shape, rank, bias=True, dtype=options.factor_dtype)
            compressed.store_rows(
                "left", lambda start, stop: encode(matrix[start:stop] / size) * size
            )
            compressed.store("right", weight.T)
            compressed.store("bias", bias * size)
        else:
            compressed = MLPDecoder(
                plan.shape, rank, [], norms=False, output="elu", dtype=options.factor_dtype
            )
            compressed.fill(encode(matrix), [decoder])
        return compressed


def _start(
    matrix: Tensor, size: float, rank: int, options: DirectionAutoencoderOptions, weights: Tensor, seed: int
) -> tuple[Layer, Layer]:
    """Encoder and decoder before training on matrix / size."""
    d = matrix.shape[1]
    if options.start == "random":
        generator = torch.Generator().manual_seed(seed)
        return uniform_layer(d, rank, generator), uniform_layer(rank, d, generator)
    mean, basis = principal_axes(matrix, rank, weights)
    return (basis.T.clone(), -(mean / size) @ basis), (basis.clone(), mean / size)
