"""B23: offline autoencoder (Banaei, Balazy, Kasymov, Lebret, Tabor and Aberer, Findings of EACL
2023).

A non-linear autoencoder of the rows (authors' code, auto-encoder-based-transformer-compression):
encoder widths 8x, 4x and the latent x, decoder widths 2x, 4x and d, LeakyReLU after every layer but
the last, tanh after that, and each decoded row scaled to the norm of the original, which is stored.
Loss

    0.9091 mean_i (1 - cos(x^_i, x_i)) + 0.0909 RMSE + 0 L1.

The encoder is dropped; latents (V, x), V norms and the decoder are stored. x is the largest that
fits the budget: at float32 the root of the paper's quadratic 10 x^2 + (V + 6 + 4 d) x + d + V -
budget, rounded down.

Ablations: `encoder` and `decoder`, widths of hidden layers in multiples of x, nearest the input
first; `linear`, one linear layer each and no tanh, as the paper's linear version; `enforce_norm`;
the three weights of the loss; the start; `weighting`, the paper's importance of rows, which
multiplies each row's part of the loss. The authors' recipe is start: random, batch_size: 16,
epochs: 30, decay: steps.

Differs from the paper:
- it starts from PCA, set into the first x units of each layer, where a bias keeps LeakyReLU mostly
  in its linear part, takes batches of 128 and lets the learning rate fall linearly; the paper
  starts at random, trains 30 epochs with batches of 16 and lowers the rate by a fifth every 10. On
  MiniLM's table at 10x this is as good in a sixth of the time;
- where norms are stored, rows are brought to the size of BERT's first, which the norms undo: tanh
  bounds what is decoded and the RMSE weighs against the cosine by the rows' size, and the paper's
  settings were found for BERT's;
- only a linear layer's matrix, whose few rows would make some hundred steps of that, has the
  authors' epochs and batches;
- the last epoch is kept, not the one of best perplexity, which the authors chose on test text;
- norms are counted as stored; the authors' count leaves them out.
"""

from dataclasses import dataclass
from typing import Literal

import torch
from torch import Tensor
from torch.nn import functional

from ..errors import UserError
from ..formats._base import ROW_BLOCK
from ..formats._factors import Factor
from ..formats.mlp_decoder import LEAK, Layer, MLPDecoder, decode
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


@dataclass(frozen=True)
class OfflineAutoencoderOptions(TrainedOptions):
    """The network, the loss and how it is minimised."""

    encoder: tuple[int, ...] = (8, 4)
    decoder: tuple[int, ...] = (2, 4)
    """Widths of hidden layers as multiples of the latent's."""
    linear: bool = False
    """One linear layer each, whatever the widths."""
    enforce_norm: bool = True
    cosine_weight: float = 0.9091
    rmse_weight: float = 0.0909
    l1_weight: float = 0.0
    start: Literal["pca", "random"] = "pca"
    decay: Literal["linear", "steps"] = "linear"
    """The learning rate falls from step to step to 0.

    Or by a factor every few epochs as in the paper.
    """
    epochs: int = 15
    batch_size: int = 128

    def __post_init__(self) -> None:
        super().__post_init__()
        if min(self.cosine_weight, self.rmse_weight, self.l1_weight) < 0:
            raise UserError("options cosine_weight, rmse_weight and l1_weight must be at least 0")

    def loss(self, decoded: Tensor, rows: Tensor, weights: Tensor) -> Tensor:
        """The loss of a batch: (B, d), (B, d), (B,) to a scalar."""
        total = self.cosine_weight * cosine_distance(decoded, rows, weights)
        if self.rmse_weight:
            total = total + self.rmse_weight * root_mean_square(decoded, rows, weights)
        if self.l1_weight:
            total = total + self.l1_weight * ((decoded - rows).abs().mean(1) * weights).mean()
        return total


class B23(Method):
    """Latents that a small network decodes, and row norms."""

    alias = "b23"
    label = "B23 offline AE"
    kind = "paper"
    citation = "banaei2023revisiting"
    weighted = True
    linear_defaults = {"epochs": 30, "batch_size": 16}
    Options = OfflineAutoencoderOptions

    def _widths(self, latent: int) -> list[int]:
        """Widths of the decoder's hidden layers."""
        return [] if self.options.linear else [m * latent for m in self.options.decoder]

    def _factors(self, shape: tuple[int, int], latent: int) -> dict[str, Factor]:
        """What is stored with a latent of this width."""
        return MLPDecoder.factors(shape, latent, self._widths(latent), self.options.enforce_norm)

    def plan(self, shape: tuple[int, int], ratio: float) -> Plan:
        """See base class."""
        latent = largest(
            lambda x: self.bits_of(self._factors(shape, x)), budget_bits(shape, ratio), min(shape)
        )
        if not latent:
            raise infeasible(
                self.label, shape, 32 * shape[0] * shape[1] / self.bits_of(self._factors(shape, 1))
            )
        return Plan(
            shape, ratio, bits=self.bits_of(self._factors(shape, latent)), sizes={"latent": latent}
        )

    def fit(self, matrix: Tensor, plan: Plan, context: Context) -> MLPDecoder:
        """See base class."""
        options = self.options
        latent = plan.sizes["latent"]
        weights = self.row_weights(context, len(matrix))
        norms = matrix.norm(dim=1, keepdim=True)
        output = "linear" if options.linear else "tanh"
        size = bert_scale(matrix) if options.enforce_norm else 1.0
        encoder, decoder = _start(matrix, size, latent, options, weights, context.seed)

        def loss(ids: Tensor, epoch: int) -> Tensor:
            rows = matrix[ids] / size
            decoded = decode(encode(rows, encoder, options.linear), decoder, output)
            if options.enforce_norm:
                decoded = functional.normalize(decoded, dim=1, eps=1e-12) * (norms[ids] / size)
            return options.loss(decoded, rows, weights[ids])

        # The paper lowers the rate by a fifth every 10 of 30 epochs.
        steps = (max(1, options.epochs // 3), 0.8) if options.decay == "steps" else None
        schedule = Schedule(options.epochs, options.batch_size, options.learning_rate, steps)
        parameters = [tensor for layer in encoder + decoder for tensor in layer]
        minimize(loss, parameters, len(matrix), schedule, context.seed, context.progress)
        widths = self._widths(latent)
        compressed = MLPDecoder(
            plan.shape, latent, widths, options.enforce_norm, output, options.factor_dtype
        )
        latents = [encode(rows / size, encoder, options.linear) for rows in matrix.split(ROW_BLOCK)]
        compressed.fill(torch.cat(latents), decoder, norms[:, 0] if options.enforce_norm else None)
        return compressed


def encode(rows: Tensor, layers: list[Layer], linear: bool = False) -> Tensor:
    """(B, d) through linear layers with LeakyReLU after each, the latent's too, unless `linear`.

    (B, x).
    """
    for weight, bias in layers:
        rows = functional.linear(rows, weight, bias)
        rows = rows if linear else functional.leaky_relu(rows, LEAK)
    return rows


def _start(
    matrix: Tensor, size: float, latent: int, options: OfflineAutoencoderOptions, weights: Tensor, seed: int
) -> tuple[list[Layer], list[Layer]]:
    """Layers of encoder and decoder before training on matrix / size."""
    generator = torch.Generator().manual_seed(seed)
    d = matrix.shape[1]
    encoder_sizes, decoder_sizes = (
        ([], []) if options.linear else (options.encoder, options.decoder)
    )
    sizes = [
        d,
        *(m * latent for m in encoder_sizes),
        latent,
        *(m * latent for m in decoder_sizes),
        d,
    ]
    layers = [uniform_layer(n_in, n_out, generator) for n_in, n_out in zip(sizes, sizes[1:])]
    encoder = layers[: len(encoder_sizes) + 1]
    decoder = layers[len(encoder_sizes) + 1 :]
    if options.start == "random":
        return encoder, decoder
    mean, basis = principal_axes(matrix, latent, weights)  # (d,), (d, x)
    mean = mean / size
    # Lifts most of each coordinate above 0, where LeakyReLU is the identity. Lifting all of it
    # trains worse: units that are never below 0 take long to become non-linear.
    shift = (matrix @ basis).std(0) / size
    for weight, bias in layers:
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
