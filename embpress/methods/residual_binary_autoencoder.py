"""LightToken: low rank plus residual binary autoencoders (Wang et al., KDD 2023).

Idea: a rank-r approximation P Q, then K binary autoencoders, each of the residual of what is
decoded so far,

    E ~ P Q + sum_j B_j D_j,   B_j = sign(R_{j-1} W_j + c_j) in {-1, 1}^(V x C/K),

where R_j is the residual of E after P Q and the first j codes. Encoders W_j, c_j are dropped; P, Q,
the decoders D_j and one bit per code entry are stored. The loss of the sum E^ is cosine_weight
mean_i (1 - cos) + mean_i ||E^_i - E_i||^2 / mean_i ||E_i||^2.

Reconstruction: the paper's full text was not available. Its abstract names a low-rank part,
residual binary autoencoders, a new loss, and ratios of 5 to 25. Inferred, and why:
- r = 4 and K = 2: no source gives either. With r = 4, float32 factors leave 464 bits per row for
  codes at the abstract's 25x on BERT's 30,522 x 768, and 2 codes are the fewest with a residual;
- the width of a code: what the budget leaves, split evenly over the codes, of which there are more
  if one would be wider than d;
- the loss: a direction and a norm term, the terms of the earlier losses for embeddings (B21);
- the training: greedy, stage by stage (signs of the residual's principal coordinates after a random
  rotation, as in iterative quantization; decoder by least squares). The abstract's "residual" says
  that stages follow each other, not whether they are trained together. `training: joint` goes on to
  train all encoders and decoders with straight-through gradients of the sign. It brings nothing: on
  MiniLM's table at 25x ten epochs change the relative error from .573 to .572, or from .512 to .510
  without counts, larger steps diverge, and at 10x the same epochs raise it from .269 to .361.

Options: `rank` (0 has no low-rank part, which saves bits on narrow matrices); `codes`; `width`;
`cosine_weight`; `training: joint`; `weighting`.
"""

from dataclasses import dataclass
from typing import Literal

import torch
from torch import Tensor

from ..errors import UserError
from ..formats._base import ROW_BLOCK
from ..formats.binary_residual import BinaryResidual
from ..numerics import bits as packing
from ..numerics.adam import Schedule, cosine_distance, minimize
from ..numerics.linalg import right_singular_vectors
from ._base import Context, Method, Plan, TrainedOptions, budget_bits, infeasible, largest


@dataclass(frozen=True)
class ResidualBinaryAutoencoderOptions(TrainedOptions):
    """Sizes, loss and training."""

    rank: int = 4
    """r, rank of the low-rank part."""
    codes: int = 2
    """K, number of residual codes; a minimum if the budget decides their width."""
    width: int = 0
    """Bits of a code; 0 uses what the budget leaves."""
    cosine_weight: float = 1.0
    """Weight of the direction term; the norm term has weight 1."""
    training: Literal["joint", "greedy"] = "greedy"
    """Whether the greedy stages are then trained jointly."""
    batch_size: int = 1024
    learning_rate: float = 3e-5

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.codes < 1 or min(self.rank, self.width, self.cosine_weight) < 0:
            raise UserError(
                "option codes must be above 0, and rank, width and cosine_weight at least 0"
            )
        if self.training == "greedy" and self.cosine_weight != 1.0:
            raise UserError(
                "option cosine_weight changes nothing without joint training: add `training: joint`"
            )
        if self.width * self.codes % 8:
            raise UserError(
                f"options codes x width are {self.codes} x {self.width} bits, but a row's codes "
                "must be whole bytes"
            )


class ResidualBinaryAutoencoder(Method):
    """Rank r, and the most code bits per row that fit the budget."""

    alias = "lighttoken"
    label = "LightToken"
    kind = "paper"
    citation = "wang2023lighttoken"
    reconstruction = True
    weighted = True
    uses_device = True
    Options = ResidualBinaryAutoencoderOptions

    def _bits(self, shape: tuple[int, int], n_bits: int) -> int:
        """Bits stored with n_bits code bits per row."""
        factors = BinaryResidual.factors(shape, min(self.options.rank, *shape), n_bits)
        return self.bits_of(factors) + shape[0] * n_bits

    def plan(self, shape: tuple[int, int], ratio: float) -> Plan:
        """See base class.

        Raises:
            UserError: if the option width is above d.
        """
        if self.options.width > shape[1]:
            raise UserError(
                f"option width is {self.options.width}, but a code has at most d = {shape[1]} "
                "bits: use more codes"
            )
        budget = budget_bits(shape, ratio)
        codes = self.options.codes
        wanted = self.options.codes * self.options.width
        # Whole bytes per row: less than 8 bits per row stay unused.
        n_bits = 8 * largest(lambda c: self._bits(shape, 8 * c), budget, 4 * shape[1])
        if not n_bits or n_bits < wanted:
            raise infeasible(
                self.label, shape, 32 * shape[0] * shape[1] / self._bits(shape, wanted or 8)
            )
        n_bits = wanted or n_bits
        codes = codes if wanted else min(n_bits, max(codes, -(-n_bits // shape[1])))
        sizes = {"rank": min(self.options.rank, *shape), "n_bits": n_bits, "codes": codes}
        return Plan(shape, ratio, bits=self._bits(shape, n_bits), sizes=sizes)

    def fit(self, matrix: Tensor, plan: Plan, context: Context) -> BinaryResidual:
        """See base class."""
        options = self.options
        rank = plan.sizes["rank"]
        n_bits = plan.sizes["n_bits"]
        weights = self.row_weights(context, len(matrix))
        # Adam's steps do not depend on the size of the parameters: rows are scaled to a root mean
        # square norm of 1.
        size = matrix.square().sum(1).mean().sqrt().clamp_min(1e-30)
        matrix = matrix / size
        basis = right_singular_vectors(matrix, rank, weights)
        left = matrix @ basis
        base = left @ basis.T
        stages = _greedy_stages(matrix - base, weights, n_bits, plan.sizes["codes"], context.seed)

        def loss(ids: Tensor, epoch: int) -> Tensor:
            rows = matrix[ids]
            decoded = base[ids]
            for weight, bias, decoder in stages:
                decoded = decoded + _straight_through((rows - decoded) @ weight + bias) @ decoder
            l2 = ((decoded - rows).square().sum(1) * weights[ids]).mean()
            return options.cosine_weight * cosine_distance(decoded, rows, weights[ids]) + l2

        if options.training == "joint":
            schedule = Schedule(options.epochs, options.batch_size, options.learning_rate)
            trained = [tensor for stage in stages for tensor in stage]
            minimize(loss, trained, len(matrix), schedule, context.seed, context.progress)
        compressed = BinaryResidual(plan.shape, rank, n_bits, options.factor_dtype)
        compressed.store("left", left * size)
        compressed.store("right", basis.T)
        compressed.store("decoder", torch.cat([decoder for *_, decoder in stages]) * size)
        compressed.codes.copy_(packing.pack(_codes(matrix, base, stages), 1).view(len(matrix), -1))
        return compressed


Stage = tuple[Tensor, Tensor, Tensor]
"""Encoder weight (d, c), encoder bias (c,), decoder (c, d)."""


def _greedy_stages(
    residual: Tensor, weights: Tensor, n_bits: int, n_stages: int, seed: int
) -> list[Stage]:
    """Stages fitted one after another, each to the residual (V, d) of those before.

    Codes are signs of rotated principal coordinates, decoders are solved by least squares.
    """
    generator = torch.Generator().manual_seed(seed)
    stages = []
    for j in range(n_stages):
        width = n_bits // n_stages + (j < n_bits % n_stages)
        directions = right_singular_vectors(residual, width, weights)
        # A rotation spreads the variance evenly over the bits, each of which is only a sign.
        rotation, _ = torch.linalg.qr(torch.randn(directions.shape[1], width, generator=generator))
        weight = directions @ rotation.to(residual.device)
        scores = residual @ weight
        signs = _sign(scores)
        decoder = _least_squares(signs, residual, weights)
        bias = torch.zeros(width, device=residual.device)
        stages.append((weight / scores.std().clamp_min(1e-12), bias, decoder))
        residual = residual - signs @ decoder
    return stages


def _least_squares(signs: Tensor, target: Tensor, weights: Tensor) -> Tensor:
    """Decoder (c, d) of least weighted squared error from codes (V, c) to a target (V, d).

    A ridge keeps the system regular if two bits are equal.
    """
    normal = signs.new_zeros(signs.shape[1], signs.shape[1], dtype=torch.float64)
    right = signs.new_zeros(signs.shape[1], target.shape[1], dtype=torch.float64)
    for some_signs, some_rows, some_weights in zip(
        *(x.split(ROW_BLOCK) for x in (signs, target, weights))
    ):
        weighted = some_signs * some_weights[:, None]
        normal += (weighted.T @ some_signs).double()
        right += (weighted.T @ some_rows).double()
    normal.diagonal().add_(1e-6 * weights.double().sum())
    return torch.linalg.solve(normal, right).float()


def _sign(x: Tensor) -> Tensor:
    """Sign in {-1, 1}; 0 is positive, as one bit has no third value."""
    return torch.where(x >= 0, 1.0, -1.0)


def _straight_through(x: Tensor) -> Tensor:
    """The sign in the forward pass, the gradient of tanh in the backward pass."""
    soft = x.tanh()
    return soft + (_sign(x) - soft).detach()


def _codes(matrix: Tensor, base: Tensor, stages: list[Stage]) -> Tensor:
    """Code bits (V, C) of all stages."""
    blocks = []
    for rows, decoded in zip(matrix.split(ROW_BLOCK), base.split(ROW_BLOCK)):
        block = []
        for weight, bias, decoder in stages:
            signs = _sign((rows - decoded) @ weight + bias)
            decoded = decoded + signs @ decoder
            block.append(signs > 0)
        blocks.append(torch.cat(block, dim=1))
    return torch.cat(blocks)
