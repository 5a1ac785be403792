"""B23: offline autoencoder (Banaei, Balazy, Kasymov, Lebret, Tabor and Aberer, Findings of EACL 2023).

A non-linear autoencoder of the rows (authors' code, auto-encoder-based-transformer-compression): encoder widths 8x, 4x
and the latent x, decoder widths 2x, 4x and d, LeakyReLU after every layer but the last, tanh after that, and each
decoded row scaled to the norm of the original, which is stored. Loss 0.9091 mean_i (1 - cos) + 0.0909 RMSE. The encoder
is dropped; latents (V, x), V norms and the decoder are stored. x is the largest that fits the budget: the root of the
paper's quadratic 10 x^2 + (V + 6 + 4 d) x + d + V - budget, rounded down.

Differs from the paper:
- it starts from PCA, set into the first x units of each layer, where LeakyReLU is kept in its linear part by a bias;
  the paper starts at random and trains 30 epochs with batches of 16;
- the last epoch is kept, not the one of best perplexity, which the authors chose on test text;
- norms are counted as stored; the authors' count leaves them out.
"""

from dataclasses import dataclass
from typing import Literal

import torch
from torch import Tensor
from torch.nn import functional

from ..errors import UserError
from ..fitting import Schedule, cosine_distance, minimise
from ..formats.base import ROW_BLOCK
from ..formats.mlp_decoder import LEAK, MLPDecoder, decode
from ..linalg import right_singular_vectors
from .base import Context, Method, Options, Plan, budget_bits, infeasible, largest

ENCODER, DECODER = (8, 4), (2, 4)
"""Widths of the hidden layers as multiples of the latent's."""

Layer = tuple[Tensor, Tensor]


@dataclass(frozen=True)
class B23Options(Options):
    """The loss and how it is minimised."""

    cosine_weight: float = 0.9091
    rmse_weight: float = 0.0909
    enforce_norm: bool = True
    start: Literal["pca", "random"] = "pca"
    epochs: int = 20
    batch_size: int = 128
    learning_rate: float = 1e-3

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.epochs < 1 or self.batch_size < 1 or self.learning_rate <= 0:
            raise UserError("options epochs, batch_size and learning_rate must be above 0")


class B23(Method):
    """Latents that a small network decodes, and row norms."""

    label = "B23 offline AE"
    kind = "paper"
    citation = "banaei2023revisiting"
    Options = B23Options

    def _bits(self, shape: tuple[int, int], latent: int) -> int:
        """Bits stored with a latent of this width."""
        rows, d = shape
        sizes = [latent, *(m * latent for m in DECODER), d]
        network = sum(n_in * n_out + n_out for n_in, n_out in zip(sizes, sizes[1:]))
        return self.factor_bits * (rows * (latent + self.options.enforce_norm) + network)

    def plan(self, shape: tuple[int, int], ratio: float) -> Plan:
        """See base class."""
        latent = largest(lambda x: self._bits(shape, x), budget_bits(shape, ratio), min(shape))
        if not latent:
            raise infeasible(self.label, shape, 32 * shape[0] * shape[1] / self._bits(shape, 1))
        return Plan(shape, ratio, bits=self._bits(shape, latent), sizes={"latent": latent})

    def fit(self, matrix: Tensor, plan: Plan, context: Context) -> MLPDecoder:
        """See base class."""
        options, latent = self.options, plan.sizes["latent"]
        encoder, decoder = _start(matrix, latent, options.start, context.seed)
        norms = matrix.norm(dim=1, keepdim=True)

        def loss(ids: Tensor, epoch: int) -> Tensor:
            rows = matrix[ids]
            decoded = decode(encode(rows, encoder), decoder)
            if options.enforce_norm:
                decoded = functional.normalize(decoded, dim=1, eps=1e-12) * norms[ids]
            # The square root has no gradient at 0.
            rmse = ((decoded - rows).square().mean() + 1e-16).sqrt()
            return options.cosine_weight * cosine_distance(decoded, rows) + options.rmse_weight * rmse

        # The paper lowers the rate by a fifth every 10 of 30 epochs.
        schedule = Schedule(options.epochs, options.batch_size, options.learning_rate, max(1, options.epochs // 3), 0.8)
        parameters = [tensor for layer in encoder + decoder for tensor in layer]
        minimise(loss, parameters, len(matrix), schedule, context.seed, context.progress)
        widths = [m * latent for m in DECODER]
        compressed = MLPDecoder(plan.shape, latent, widths, options.enforce_norm, options.factor_dtype)
        compressed.latents.copy_(torch.cat([encode(rows, encoder) for rows in matrix.split(ROW_BLOCK)]))
        if compressed.norms is not None:
            compressed.norms.copy_(norms[:, 0])
        for (weight, bias), (fitted_weight, fitted_bias) in zip(compressed.layers(), decoder):
            weight.copy_(fitted_weight)
            bias.copy_(fitted_bias)
        return compressed


def encode(rows: Tensor, layers: list[Layer]) -> Tensor:
    """(B, d) through linear layers with LeakyReLU after each, the latent's too: (B, x)."""
    for weight, bias in layers:
        rows = functional.leaky_relu(functional.linear(rows, weight, bias), LEAK)
    return rows


def _start(matrix: Tensor, latent: int, start: str, seed: int) -> tuple[list[Layer], list[Layer]]:
    """Layers of encoder and decoder before training."""
    generator = torch.Generator().manual_seed(seed)
    d = matrix.shape[1]
    encoder = _random_layers([d, *(m * latent for m in ENCODER), latent], generator)
    decoder = _random_layers([latent, *(m * latent for m in DECODER), d], generator)
    if start == "random":
        return encoder, decoder
    mean = matrix.mean(0)
    basis = right_singular_vectors(matrix - mean, latent)  # (d, x)
    shift = -((matrix - mean) @ basis).amin(0)  # lifts every coordinate above 0, where LeakyReLU is the identity
    for weight, bias in encoder + decoder:
        # The first x units carry the coordinates on; what the others bring to them is learnt.
        weight[:latent] = 0
        bias[:latent] = 0
    for weight, _ in encoder[1:] + decoder[:-1]:
        weight[:latent, :latent] = torch.eye(latent)
    encoder[0][0][:latent] = basis.T
    encoder[0][1][:latent] = shift - mean @ basis
    weight, bias = decoder[-1]
    weight.zero_()
    weight[:, :latent] = basis
    bias.copy_(mean - basis @ shift)
    return encoder, decoder


def _random_layers(sizes: list[int], generator: torch.Generator) -> list[Layer]:
    """Torch's default start of linear layers: uniform within 1/sqrt(inputs)."""

    def uniform(n_in: int, *shape: int) -> Tensor:
        return (2 * torch.rand(shape, generator=generator) - 1) / n_in**0.5

    return [(uniform(n_in, n_out, n_in), uniform(n_in, n_out)) for n_in, n_out in zip(sizes, sizes[1:])]
