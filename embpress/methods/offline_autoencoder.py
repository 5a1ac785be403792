"""B23: offline autoencoder (Banaei, Balazy, Kasymov, Lebret, Tabor and Aberer, EACL Findings 2023).

Idea: a non-linear autoencoder of the rows compresses better offline than a factorization. From the
authors' code (auto-encoder-based-transformer-compression): encoder widths 8x, 4x and the latent x,
decoder widths 2x, 4x and d, LeakyReLU after every layer but the last, tanh after that, and each
decoded row scaled to the norm of the original, which is stored. The loss is

    0.9091 mean_i (1 - cos(x^_i, x_i)) + 0.0909 RMSE.

The encoder is dropped: latents (V, x), V norms and the decoder are stored. x is the largest that
fits the budget: in float32 the floor of the positive root of the paper's quadratic 10 x^2 + (V + 6
+ 4 d) x + d + V - budget.

Differs from the paper:
- it starts from PCA in the first x units of each layer, where a bias keeps LeakyReLU mostly in its
  linear part, uses batches of 128 and decays the learning rate linearly, because on MiniLM's table
  at 10x this is as good in a sixth of the time; the paper starts at random, trains 30 epochs with
  batches of 16 and multiplies the learning rate by 0.8 every 10;
- with stored norms, rows are scaled to the size of BERT's, which the norms undo, because tanh
  bounds the decoded values, the balance of RMSE and cosine depends on the rows' size, and the paper
  chose its settings on BERT;
- the last epoch is kept, not the one of best perplexity, which the authors choose on test text;
- norms are counted as stored; the authors' count leaves them out;
- weights by sensitivity have a mean of 1 over all rows, those of the authors' code over each batch,
  and their gradient includes the share of a tied output head (see `models.sensitivity`).

A linear layer's matrix is trained with the authors' epochs and batches, because its few rows would
make only some hundred steps otherwise.

Options: `linear`, the paper's linear version with one layer each and no tanh; `enforce_norm`;
`weighting`, the paper's importance of rows: the sensitivity itself, not its square, multiplies each
row's cosine distance and squared error, as in the authors' code. The
authors' recipe is `start: random`, `batch_size: 16`, `epochs: 30`, `decay: steps`.
"""

from dataclasses import dataclass
from typing import Literal

import torch
from torch import Tensor
from torch.nn import functional

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

ENCODER = (8, 4)
DECODER = (2, 4)
"""Widths of the hidden layers as multiples of the latent's, in the order of the layers."""
COSINE_WEIGHT = 0.9091
RMSE_WEIGHT = 0.0909


@dataclass(frozen=True)
class OfflineAutoencoderOptions(TrainedOptions):
    """The network and its training."""

    linear: bool = False
    """One linear layer in the encoder and one in the decoder, without activations."""
    enforce_norm: bool = True
    """Store the rows' norms, and scale decoded rows to them."""
    start: Literal["pca", "random"] = "pca"
    """Initialization."""
    decay: Literal["linear", "steps"] = "linear"
    """Decay of the learning rate: linearly to 0, or in steps as in the paper."""
    epochs: int = 15
    batch_size: int = 128


class OfflineAutoencoder(Method):
    """The largest latent that fits the budget."""

    alias = "b23"
    label = "B23 offline AE"
    kind = "paper"
    citation = "banaei2023revisiting"
    weighted = True
    uses_device = True
    linear_defaults = {"epochs": 30, "batch_size": 16}
    Options = OfflineAutoencoderOptions

    def _widths(self, latent: int) -> list[int]:
        """Widths of the decoder's hidden layers."""
        return [] if self.options.linear else [m * latent for m in DECODER]

    def _factors(self, shape: tuple[int, int], latent: int) -> dict[str, Factor]:
        """Factors stored with a latent of this width."""
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
        scale = bert_scale(matrix) if options.enforce_norm else 1.0
        encoder, decoder = _initialize(matrix, scale, latent, options, weights, context.seed)

        def loss(ids: Tensor, epoch: int) -> Tensor:
            rows = matrix[ids] / scale
            decoded = decode(encode(rows, encoder, options.linear), decoder, output)
            if options.enforce_norm:
                decoded = functional.normalize(decoded, dim=1, eps=1e-12) * (norms[ids] / scale)
            return compute_loss(decoded, rows, weights[ids])

        # The paper multiplies the learning rate by 0.8 every 10 of 30 epochs.
        steps = (max(1, options.epochs // 3), 0.8) if options.decay == "steps" else None
        schedule = Schedule(options.epochs, options.batch_size, options.learning_rate, steps)
        parameters = [tensor for layer in encoder + decoder for tensor in layer]
        minimize(loss, parameters, len(matrix), schedule, context.seed, context.progress)
        widths = self._widths(latent)
        compressed = MLPDecoder(
            plan.shape, latent, widths, options.enforce_norm, output, options.factor_dtype
        )
        latents = [
            encode(rows / scale, encoder, options.linear) for rows in matrix.split(ROW_BLOCK)
        ]
        compressed.fill(torch.cat(latents), decoder, norms[:, 0] if options.enforce_norm else None)
        return compressed


def compute_loss(decoded: Tensor, rows: Tensor, weights: Tensor) -> Tensor:
    """The loss of a batch: (B, d), (B, d), (B,) to a scalar."""
    # The order of the terms decides in which order autograd sums their gradients.
    total = COSINE_WEIGHT * cosine_distance(decoded, rows, weights)
    return total + RMSE_WEIGHT * root_mean_square(decoded, rows, weights)


def encode(rows: Tensor, layers: list[Layer], linear: bool = False) -> Tensor:
    """Encode rows (B, d) to latents (B, x), with LeakyReLU after each layer unless `linear`."""
    for weight, bias in layers:
        rows = functional.linear(rows, weight, bias)
        rows = rows if linear else functional.leaky_relu(rows, LEAK)
    return rows


def _initialize(
    matrix: Tensor,
    scale: float,
    latent: int,
    options: OfflineAutoencoderOptions,
    weights: Tensor,
    seed: int,
) -> tuple[list[Layer], list[Layer]]:
    """Layers of encoder and decoder before training on matrix / scale."""
    generator = torch.Generator().manual_seed(seed)
    d = matrix.shape[1]
    encoder_sizes, decoder_sizes = ((), ()) if options.linear else (ENCODER, DECODER)
    sizes = [
        d,
        *(m * latent for m in encoder_sizes),
        latent,
        *(m * latent for m in decoder_sizes),
        d,
    ]
    layers = [
        uniform_layer(n_in, n_out, generator, matrix.device)
        for n_in, n_out in zip(sizes, sizes[1:])
    ]
    encoder = layers[: len(encoder_sizes) + 1]
    decoder = layers[len(encoder_sizes) + 1 :]
    if options.start == "random":
        return encoder, decoder
    mean, basis = principal_axes(matrix, latent, weights)  # (d,), (d, x)
    mean = mean / scale
    # Shifts most values of each coordinate above 0, where LeakyReLU is the identity. Shifting all
    # of them trains worse: units that are never below 0 become non-linear only slowly.
    shift = (matrix @ basis).std(0) / scale
    for weight, bias in layers:
        # The first x units pass the coordinates on; contributions of the others are learned.
        weight[:latent] = 0
        bias[:latent] = 0
    for weight, _ in encoder[1:] + decoder[:-1]:
        weight[:latent, :latent] = torch.eye(latent, device=matrix.device)
    encoder[0][0][:latent] = basis.T
    encoder[0][1][:latent] = shift - mean @ basis
    weight, bias = decoder[-1]
    weight.zero_()
    weight[:, :latent] = basis
    bias.copy_(mean - basis @ shift)
    return encoder, decoder
