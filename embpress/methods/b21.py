"""B21: direction autoencoder (Balazy, Banaei, Lebret, Tabor and Aberer, RepL4NLP 2021).

A linear autoencoder of the rows, z = W_e x + b_e, x^ = W_d z + b_d, trained on

    0.9975/5 mean_i (1 - cos(x^_i, x_i)) + 0.0025 mean_ij (|x_ij - x^_ij| + 1e-10)^alpha,

alpha falling linearly from 1.0 to 0.1 over the first two thirds of the epochs and staying there (the authors' code,
orientation_based_embedding_compression). The encoder is dropped: latents (V, k), W_d and b_d are stored.

Differs from the paper:
- it starts from PCA, the optimum of the L2 loss alone, and takes batches of 2,048 rows, where the paper starts at
  random with batches of 32: the same quality in a fraction of the time;
- the last epoch is kept, not the one of best perplexity, which the authors chose on test text.
"""

from dataclasses import dataclass
from typing import Literal

import torch
from torch import Tensor

from ..errors import UserError
from ..fitting import Schedule, cosine_distance, minimise
from ..formats.low_rank import LowRank
from ..linalg import right_singular_vectors
from .base import Context, Method, Options, Plan, budget_bits, infeasible

SMALLEST = 1e-10
"""Keeps the gradient of |e|^alpha finite at 0, as in the paper's code."""


@dataclass(frozen=True)
class B21Options(Options):
    """The loss and how it is minimised."""

    cosine_weight: float = 0.9975 / 5
    norm_weight: float = 0.0025
    start: Literal["pca", "random"] = "pca"
    epochs: int = 8
    batch_size: int = 2048
    learning_rate: float = 1e-3

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.epochs < 1 or self.batch_size < 1 or self.learning_rate <= 0:
            raise UserError("options epochs, batch_size and learning_rate must be above 0")


class B21(Method):
    """k floats a row, and the decoder's k d + d."""

    label = "B21 direction AE"
    kind = "paper"
    citation = "balazy2021direction"
    Options = B21Options

    def plan(self, shape: tuple[int, int], ratio: float) -> Plan:
        """See base class."""
        floats = budget_bits(shape, ratio) // self.factor_bits
        rank = min((floats - shape[1]) // sum(shape), *shape)
        if rank < 1:
            most = 32 * shape[0] * shape[1] / (self.factor_bits * (sum(shape) + shape[1]))
            raise infeasible(self.label, shape, most)
        bits = self.factor_bits * (rank * sum(shape) + shape[1])
        return Plan(shape, ratio, bits=bits, sizes={"rank": rank})

    def fit(self, matrix: Tensor, plan: Plan, context: Context) -> LowRank:
        """See base class."""
        options, rank = self.options, plan.sizes["rank"]
        mean = matrix.mean(0)
        if options.start == "pca":
            encoder = right_singular_vectors(matrix - mean, rank)  # (d, k)
            encoder_bias, decoder, bias = -mean @ encoder, encoder.T.clone(), mean.clone()
        else:
            generator = torch.Generator().manual_seed(context.seed)
            encoder, decoder = (_uniform(shape, generator) for shape in ((plan.shape[1], rank), (rank, plan.shape[1])))
            encoder_bias, bias = torch.zeros(rank), torch.zeros(plan.shape[1])

        def loss(ids: Tensor, epoch: int) -> Tensor:
            rows = matrix[ids]
            decoded = (rows @ encoder + encoder_bias) @ decoder + bias
            alpha = max(0.1, 1.0 - 0.9 * epoch / max(1, 2 * options.epochs / 3))
            size = ((rows - decoded).abs() + SMALLEST).pow(alpha).mean()
            return options.cosine_weight * cosine_distance(decoded, rows) + options.norm_weight * size

        # The paper halves the rate every 4 of 30 epochs.
        schedule = Schedule(options.epochs, options.batch_size, options.learning_rate, max(1, options.epochs // 7), 0.5)
        parameters = [encoder, encoder_bias, decoder, bias]
        minimise(loss, parameters, len(matrix), schedule, context.seed, context.progress)
        compressed = LowRank(plan.shape, rank, bias=True, dtype=options.factor_dtype)
        compressed.left.copy_(matrix @ encoder + encoder_bias)
        compressed.right.copy_(decoder)
        compressed.bias.copy_(bias)  # type: ignore[union-attr]
        return compressed


def _uniform(shape: tuple[int, int], generator: torch.Generator) -> Tensor:
    """Torch's default start of a linear layer with shape[0] inputs."""
    return (2 * torch.rand(shape, generator=generator) - 1) / shape[0] ** 0.5
